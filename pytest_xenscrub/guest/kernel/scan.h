/* SPDX-License-Identifier: MIT */
/* Reads every byte of pages, and says which are not as a scrubbed page is. */

#ifndef SCAN_H
#define SCAN_H

#include "verdict.h"

/* Reads and counts one page; describes it if it is dirty. */
enum verdict scan_page(struct tally *tally, unsigned long pfn, const void *page);

/* The verdict on every page of the domain. */
void scan(void);

#endif
