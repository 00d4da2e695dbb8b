/* SPDX-License-Identifier: MIT */
/* A mapping of every page of the domain. */

#ifndef DIRECTMAP_H
#define DIRECTMAP_H

#include "lib.h"

static inline void *direct_map(unsigned long pfn)
{
    return (void *)(DIRECT_MAP + (pfn << PAGE_SHIFT));
}

#endif
