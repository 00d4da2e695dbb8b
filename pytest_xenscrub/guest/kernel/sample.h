/* SPDX-License-Identifier: MIT */
/*
 * Chooses the pages to fill if not all are filled: single pages and dense runs.
 *
 * Single pages show faults with pages at any place; dense runs (extents of 2 MiB, as Xen allocates
 * and frees them) show faults with extents. A hash of a seed and the page's number chooses, so the
 * tool needs only the seed to know the pages: guest/sample.py must agree with this file.
 *
 *   single    hash(seed, pfn)                   < single
 *   dense     hash(seed ^ DENSE_STREAM, run)    < dense,  run = pfn / RUN_PAGES
 *
 * A hash has 32 bits; a threshold of SAMPLE_ALL is above all of them.
 */

#ifndef SAMPLE_H
#define SAMPLE_H

#include "lib.h"

#define SAMPLE_ALL      (1ul << 32)
#define RUN_PAGES       512
#define DENSE_STREAM    0xd1b54a32d192ed03ul

struct sample {
    unsigned long seed, single, dense;
};

/* The upper half of one step of splitmix64, in which neighbours' hashes are independent. */
static inline unsigned long sample_hash(unsigned long seed, unsigned long number)
{
    unsigned long z = seed + (number + 1) * 0x9e3779b97f4a7c15ul;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ul;
    z = (z ^ z >> 27) * 0x94d049bb133111ebul;

    return (z ^ z >> 31) >> 32;
}

static inline bool samples_all(const struct sample *s)
{
    return s->single >= SAMPLE_ALL;
}

static inline bool is_sampled(const struct sample *s, unsigned long pfn)
{
    return samples_all(s) || sample_hash(s->seed, pfn) < s->single ||
           sample_hash(s->seed ^ DENSE_STREAM, pfn / RUN_PAGES) < s->dense;
}

#endif
