/* SPDX-License-Identifier: MIT */
/*
 * Verdicts, one per page. Two bitmaps and not one: a page that a bug never read is in neither,
 * and cannot pass for clean.
 */

#ifndef VERDICT_H
#define VERDICT_H

#include "lib.h"

struct verdicts {
    unsigned long base;         /* pfn of the first bit; a multiple of 64 */
    unsigned long *clean, *residue;
};

struct tally {
    unsigned long clean, pattern, other;
};

static inline void verdict_set(const struct verdicts *v, unsigned long pfn, bool clean)
{
    unsigned long bit = pfn - v->base;
    unsigned long *bitmap = clean ? v->clean : v->residue;

    __atomic_fetch_or(&bitmap[bit / BITS_PER_WORD], 1ul << (bit % BITS_PER_WORD),
                      __ATOMIC_RELAXED);
}

static inline bool bit_is_set(const unsigned long *bitmap, unsigned long bit)
{
    return bitmap[bit / BITS_PER_WORD] >> (bit % BITS_PER_WORD) & 1;
}

#endif
