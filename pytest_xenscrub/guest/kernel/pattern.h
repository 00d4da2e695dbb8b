/* SPDX-License-Identifier: MIT */
/*
 * What the filler writes: every 8-byte word names its owner or its frame, and its place.
 *
 * A word is little-endian, a page has 512 of them, word number i (0..511) is:
 *
 *              bits 63..56    55..32      31..9         8..0
 *   i even     KIND_OWNER     run (24)    guest (23)    i
 *
 *              bits 63..56    55..16      15..9         8..0
 *   i % 4 == 1 KIND_PFN       pfn (40)    check (7)     i
 *   i % 4 == 3 KIND_MFN       mfn (40)    check (7)     i
 *
 * with  check = (((value + (run << 23 | guest)) * 0x9e3779b97f4a7c15) mod 2^64) >> 57,
 * where value is the pfn or the mfn; the mfn is NO_FRAME if only Xen knows it (PVH and HVM). So a
 * few words are enough to recognise a page that was half scrubbed, moved, or copied into another.
 *
 * The kind is never 0x00 or 0xc2, so no word equals a word of a scrubbed page. (Single bytes can
 * be equal: the low byte of word 0 is always 0.)
 */

#ifndef PATTERN_H
#define PATTERN_H

#include "lib.h"

#define KIND_OWNER      0xa9ul
#define KIND_PFN        0xb6ul
#define KIND_MFN        0xd5ul

#define RUN_BITS        24
#define GUEST_BITS      23
#define FRAME_BITS      40
#define NO_FRAME        ((1ul << FRAME_BITS) - 1)

#define POSITION(word)  ((word) & 0x1ff)
#define KIND(word)      ((word) >> 56)

/* The three kinds of words of a page, all with position 0: adding i gives word i. */
struct pattern {
    unsigned long owner, pfn, mfn;
};

static inline unsigned long pattern_owner(unsigned long run, unsigned long guest)
{
    return KIND_OWNER << 56 | run << 32 | guest << 9;
}

/* A word of KIND_PFN or KIND_MFN with position 0; `owner` is a word of KIND_OWNER. */
static inline unsigned long pattern_frame(unsigned long kind, unsigned long frame,
                                          unsigned long owner)
{
    unsigned long identity = (owner << 8) >> 17;
    unsigned long check = ((frame + identity) * 0x9e3779b97f4a7c15ul) >> 57;

    return kind << 56 | frame << 16 | check << 9;
}

static inline unsigned long pattern_word(const struct pattern *p, unsigned int i)
{
    return i + (!(i & 1) ? p->owner : !(i & 2) ? p->pfn : p->mfn);
}

static inline unsigned long run_of(unsigned long owner)
{
    return owner >> 32 & ((1ul << RUN_BITS) - 1);
}

static inline unsigned long guest_of(unsigned long owner)
{
    return owner >> 9 & ((1ul << GUEST_BITS) - 1);
}

static inline unsigned long frame_of(unsigned long word)
{
    return word >> 16 & ((1ul << FRAME_BITS) - 1);
}

#endif
