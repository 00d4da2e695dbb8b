/* SPDX-License-Identifier: MIT */
/* All vCPUs of the domain, started and stopped. */

#ifndef CPUS_H
#define CPUS_H

unsigned int cpus_count(void);
/* Starts all other vCPUs, also in the new domain after a suspend. */
void cpus_start(void);

/* Stop the other vCPUs, and let them go on if the suspend was cancelled. Call only between jobs. */
void cpus_down(void);
void cpus_up(void);

#endif
