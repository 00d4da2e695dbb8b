/* SPDX-License-Identifier: MIT */
/* All vCPUs of the domain, started and stopped. */

#ifndef CPUS_H
#define CPUS_H

unsigned int cpus_count(void);
/* Starts all others, also in a domain that we find ourselves in after a suspend. */
void cpus_start(void);

/* Between jobs: stops the others, and lets them go on if we are still in that domain. */
void cpus_down(void);
void cpus_up(void);

#endif
