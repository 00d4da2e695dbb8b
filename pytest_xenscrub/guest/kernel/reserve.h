/* SPDX-License-Identifier: MIT */
/*
 * Pages we need for ourselves, from the top of the domain (low memory may be full of p2m).
 * Each is read, and judged, before it is used for anything.
 */

#ifndef RESERVE_H
#define RESERVE_H

#include "kernel.h"
#include "verdict.h"

#define STACK_PAGES 2

struct reserved {
    unsigned long early, nr_early;      /* bitmaps of the verdicts on this area: each */
    unsigned long stacks, nr_stacks;
    unsigned long bitmaps, nr_bitmap;   /* bitmaps of the verdicts on all pages: each */
    unsigned long l3, nr_l3;
    unsigned long l2, nr_l2;
    unsigned long l1, nr_l1;            /* up to the last page */
};

extern struct reserved reserved;
extern struct verdicts early_verdicts;
extern struct tally early_tally;

static inline bool is_table(unsigned long pfn)
{
    return pfn >= reserved.l3 && pfn < memory.end;
}

void reserve_layout(unsigned int nr_cpus);

/* The bitmaps for the verdicts on what follows. */
void reserve_early(void);

/* Maps zeroed pages for the stack of the next vCPU; returns its lowest address. */
void *reserve_stack(unsigned int cpu);
unsigned long reserve_stack_pfn(unsigned int cpu);

/* Zeroes what is neither early, nor a stack, nor L1. */
void reserve_claim(void);

/* Reads a page and notes the verdict. */
void reserve_judge(unsigned long pfn, const void *page);

#endif
