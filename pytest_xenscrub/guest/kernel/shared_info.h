/* SPDX-License-Identifier: MIT */
/* The page that we share with Xen, and with a toolstack that saves us. */

#ifndef SHARED_INFO_H
#define SHARED_INFO_H

#include "hypercall.h"
#include "lib.h"

/* Mapped by the platform, in each domain anew. */
extern struct shared_info *shared;

/* We have no handler for events: we look. */
void shared_info_mask(void);

#endif
