/* SPDX-License-Identifier: MIT */
/* Reads every byte of all pages, and reports which pages are clean. */

#ifndef SCAN_H
#define SCAN_H

/* Judges every page of the domain, and reports the verdicts. */
void scan(void);

#endif
