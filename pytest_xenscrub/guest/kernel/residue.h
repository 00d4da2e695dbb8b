/* SPDX-License-Identifier: MIT */
/* Examines and describes pages that do not hold what they should. */

#ifndef RESIDUE_H
#define RESIDUE_H

#include "kernel.h"
#include "pattern.h"

static inline unsigned long clean_word(void)
{
    return options.clean * 0x0101010101010101ul;
}

/* Sets how many more dirty pages may be described. */
void residue_show(unsigned long pages);

/*
 * Describes a page that does not hold `expected` (NULL: the clean byte). Returns whether at least
 * half of the wrong words are words of a pattern.
 */
bool residue_examine(unsigned long pfn, const unsigned long *page,
                     const struct pattern *expected);

#endif
