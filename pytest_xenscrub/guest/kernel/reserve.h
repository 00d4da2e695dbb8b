/* SPDX-License-Identifier: MIT */
/*
 * Pages for this kernel itself, at the top of the domain, because the p2m may fill low memory.
 * Each page is judged before it is used.
 */

#ifndef RESERVE_H
#define RESERVE_H

#include "kernel.h"
#include "verdict.h"

#define STACK_PAGES 2

struct reserved {
    unsigned long early, nr_early;      /* two bitmaps for this area; nr_early pages each */
    unsigned long stacks, nr_stacks;
    unsigned long bitmaps, nr_bitmap;   /* two bitmaps for all pages; nr_bitmap pages each */
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

/* Judges the early bitmaps' own pages, and prepares the bitmaps for further verdicts. */
void reserve_early(void);

/* Maps zeroed pages for the stack of the next vCPU; returns its lowest address. */
void *reserve_stack(unsigned int cpu);
unsigned long reserve_stack_pfn(unsigned int cpu);

/* Judges and zeroes the other pages of the area, except those for L1 tables. */
void reserve_claim(void);

/* Reads a page and notes the verdict. */
void reserve_judge(unsigned long pfn, const void *page);

#endif
