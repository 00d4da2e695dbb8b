/* SPDX-License-Identifier: MIT */
/* The page that the domain shares with Xen, and with a toolstack that saves the domain. */

#ifndef SHARED_INFO_H
#define SHARED_INFO_H

#include "hypercall.h"
#include "lib.h"

/* The platform maps it again in each new domain. */
extern struct shared_info *shared;

/* Masks all events, because this kernel polls and has no handler for them. */
void shared_info_mask(void);

#endif
