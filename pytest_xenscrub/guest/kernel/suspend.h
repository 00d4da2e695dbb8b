/* SPDX-License-Identifier: MIT */

#ifndef SUSPEND_H
#define SUSPEND_H

/*
 * Suspends the domain, and returns when it runs again: as another domain with other frames, or
 * as the same domain if the toolstack cancelled the suspend.
 */
void suspend(void);

#endif
