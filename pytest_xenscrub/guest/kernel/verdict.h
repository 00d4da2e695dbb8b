/* SPDX-License-Identifier: MIT */
/*
 * Verdicts, one per page. Clean and residue are two bitmaps and not one: a page that a bug never
 * read is in neither, and cannot pass for clean. Pattern is part of residue, and noted as the page
 * is read: to find it out later would be to read all that is dirty once more, on one vCPU.
 */

#ifndef VERDICT_H
#define VERDICT_H

#include "lib.h"

enum verdict { VERDICT_CLEAN, VERDICT_PATTERN, VERDICT_OTHER };

struct verdicts {
    unsigned long base;         /* pfn of the first bit; a multiple of 64 */
    unsigned long *clean, *residue;
    unsigned long *pattern;     /* of residue, what holds our pattern */
};

struct tally {
    unsigned long clean, pattern, other;
};

static inline void bit_set(unsigned long *bitmap, unsigned long bit)
{
    __atomic_fetch_or(&bitmap[bit / BITS_PER_WORD], 1ul << (bit % BITS_PER_WORD),
                      __ATOMIC_RELAXED);
}

static inline void verdict_set(const struct verdicts *v, unsigned long pfn,
                               enum verdict verdict)
{
    unsigned long bit = pfn - v->base;

    bit_set(verdict == VERDICT_CLEAN ? v->clean : v->residue, bit);
    if ( verdict == VERDICT_PATTERN )
        bit_set(v->pattern, bit);
}

static inline bool bit_is_set(const unsigned long *bitmap, unsigned long bit)
{
    return bitmap[bit / BITS_PER_WORD] >> (bit % BITS_PER_WORD) & 1;
}

#endif
