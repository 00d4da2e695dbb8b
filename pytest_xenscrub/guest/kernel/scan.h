/* SPDX-License-Identifier: MIT */
/* Reads every byte of all pages, and says which are not as a scrubbed page is. */

#ifndef SCAN_H
#define SCAN_H

/* The verdict on every page of the domain. */
void scan(void);

#endif
