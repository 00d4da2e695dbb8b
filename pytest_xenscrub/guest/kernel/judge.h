/* SPDX-License-Identifier: MIT */
/* Tells clean pages from dirty ones. */

#ifndef JUDGE_H
#define JUDGE_H

#include "verdict.h"

/* Whether every byte of a page is the byte that this Xen scrubs with. */
bool is_clean(const void *page);

/* Reads and counts one page; describes it if it is dirty. */
enum verdict judge_page(struct tally *tally, unsigned long pfn, const void *page);

#endif
