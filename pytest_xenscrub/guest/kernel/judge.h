/* SPDX-License-Identifier: MIT */
/* Whether a page is as a scrubbed page is. */

#ifndef JUDGE_H
#define JUDGE_H

#include "verdict.h"

/* Whether every byte of a page is what this Xen scrubs with. */
bool is_clean(const void *page);

/* Reads and counts one page; describes it if it is dirty. */
enum verdict judge_page(struct tally *tally, unsigned long pfn, const void *page);

#endif
