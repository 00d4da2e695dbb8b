/* SPDX-License-Identifier: MIT */
/* Xen's system time, and waiting without burning a CPU. */

#ifndef CLOCK_H
#define CLOCK_H

#define NS_PER_MS 1000000ul

/* ns since Xen booted, also before and after a suspend; shared_info must be mapped. */
unsigned long now_ns(void);

/* Gives the physical CPU to another vCPU. */
void yield(void);

/*
 * Sleeps until one of the event channels fires or `ns` have passed (0: no limit), and clears
 * the channels' pending bits. Check the condition first, then call this: an event that fires in
 * between ends the sleep at once.
 */
void wait_for(const unsigned int *ports, unsigned int nr, unsigned long ns);

void notify(unsigned int port);

#endif
