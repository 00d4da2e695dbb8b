/* SPDX-License-Identifier: MIT */
/* The page that we share with Xen, and with a toolstack that saves us. */

#ifndef SHARED_INFO_H
#define SHARED_INFO_H

#include "hypercall.h"
#include "lib.h"

extern char shared_info_page[PAGE_SIZE];

static struct shared_info *const shared = (struct shared_info *)shared_info_page;

/*
 * Maps it, masks all events, and says in it where our p2m is: as a list in virtual addresses,
 * which every toolstack since 4.6 reads.
 */
void shared_info_map(const start_info_t *si, const void *l4);

/* It is no page of ours, so a saved domain must not map it. */
void shared_info_unmap(void);

#endif
