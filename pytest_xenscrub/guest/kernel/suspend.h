/* SPDX-License-Identifier: MIT */
/* What ties us to this domain, and how we leave it for another one. */

#ifndef SUSPEND_H
#define SUSPEND_H

#include "hypercall.h"

/* Our rings, their event channels, and shared_info; `si` is kept. */
void attach(start_info_t *si);

/*
 * Suspends the domain, and returns when it runs again: as another domain with other frames, or
 * as this one if the toolstack thought better of it.
 */
void suspend(void);

#endif
