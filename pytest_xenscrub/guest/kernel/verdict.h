/* SPDX-License-Identifier: MIT */
/*
 * Verdicts, one per page, two bits each, in a bitmap for each bit:
 *
 *   clean_or_pattern    residue
 *          0               0       not read, so that a page which a bug skips is not called clean
 *          1               0       clean
 *          0               1       residue without a pattern
 *          1               1       residue with a pattern
 *
 * Whether a page has a pattern is noted when it is read. To find that out later, one vCPU would
 * have to read all dirty pages again. A third bitmap would take pages that a victim then could not
 * fill.
 */

#ifndef VERDICT_H
#define VERDICT_H

#include "lib.h"

enum verdict { VERDICT_CLEAN, VERDICT_PATTERN, VERDICT_OTHER };

struct verdicts {
    unsigned long base;         /* pfn of the first bit; a multiple of 64 */
    unsigned long *clean_or_pattern, *residue;
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

    if ( verdict != VERDICT_OTHER )
        bit_set(v->clean_or_pattern, bit);
    if ( verdict != VERDICT_CLEAN )
        bit_set(v->residue, bit);
}

/* The pages in word `i` of the bitmaps that are clean, residue, or residue with a pattern. */
static inline unsigned long clean_in(const struct verdicts *v, unsigned long i)
{
    return v->clean_or_pattern[i] & ~v->residue[i];
}

static inline unsigned long residue_in(const struct verdicts *v, unsigned long i)
{
    return v->residue[i];
}

static inline unsigned long pattern_in(const struct verdicts *v, unsigned long i)
{
    return v->clean_or_pattern[i] & v->residue[i];
}

static inline bool bit_is_set(unsigned long word, unsigned long bit)
{
    return word >> (bit % BITS_PER_WORD) & 1;
}

#endif
