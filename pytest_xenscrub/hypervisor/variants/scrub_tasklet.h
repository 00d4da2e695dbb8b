/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scrubbing of dead domains' pages, delayed to tasklets: what the rest of Xen may ask.
 */
#ifndef XEN_SCRUB_TASKLET_H
#define XEN_SCRUB_TASKLET_H

/* Pages that wait to be scrubbed: freed by their domain, not yet in the heap. */
unsigned long scrub_tasklet_pages(void);

#endif /* XEN_SCRUB_TASKLET_H */
