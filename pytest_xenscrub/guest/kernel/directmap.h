/* SPDX-License-Identifier: MIT */
/* Every page of the domain, mapped. */

#ifndef DIRECTMAP_H
#define DIRECTMAP_H

#include "kernel.h"

static inline void *direct_map(unsigned long pfn)
{
    return (void *)(DIRECT_MAP + (pfn << PAGE_SHIFT));
}

/*
 * The direct map, as Linux has it: what it costs to tear down is part of what a destroy costs.
 * All levels are pages of the reserved area, already claimed, except for L1, which the vCPUs
 * claim and write together.
 */
void direct_map_build(const void *l4);

/* Xen frees a page when nobody refers to it, and a mapping is a reference. */
void direct_map_drop(unsigned long first, unsigned long end);

/* Pages that the domain has got again, and frames for them. */
void direct_map_add(unsigned long first, unsigned long end);

#endif
