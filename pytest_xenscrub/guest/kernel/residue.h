/* SPDX-License-Identifier: MIT */
/* What is in a page that is not as it should be. */

#ifndef RESIDUE_H
#define RESIDUE_H

#include "kernel.h"
#include "pattern.h"

static inline unsigned long clean_word(void)
{
    return options.clean * 0x0101010101010101ul;
}

/* How many dirty pages may still be described. */
void residue_show(unsigned long pages);

/*
 * Describes a page that is not as `expected` (NULL: clean). Returns whether most of what is
 * wrong with it is our pattern.
 */
bool residue_examine(unsigned long pfn, const unsigned long *page,
                     const struct pattern *expected);

#endif
