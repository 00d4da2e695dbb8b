/* SPDX-License-Identifier: MIT */

#ifndef SUSPEND_H
#define SUSPEND_H

/*
 * Suspends the domain, and returns when it runs again: as another domain with other frames, or
 * as this one if the toolstack thought better of it.
 */
void suspend(void);

#endif
