/* SPDX-License-Identifier: MIT */
/* All vCPUs of the domain, and work shared out among them. */

#ifndef CPUS_H
#define CPUS_H

#include "lib.h"

#define MAX_VCPUS 128

/* Does [first, end) of whatever is to be done. */
typedef void job_fn(unsigned int cpu, unsigned long first, unsigned long end);

unsigned int cpus_count(void);
/* Starts all others, also in a domain that we find ourselves in after a suspend. */
void cpus_start(const void *l4);

/* Between jobs: stops the others, and lets them go on if we are still in that domain. */
void cpus_down(void);
void cpus_up(void);

/*
 * Does [0, end) in units, on all vCPUs; returns when all of it is done, with the ns it took.
 * With an `op`, items are pages, and their progress is reported under that name.
 */
unsigned long cpus_run(job_fn *fn, unsigned long end, unsigned long unit, const char *op);

/* Pages to a unit: 64 MiB, or less to give each vCPU of a small domain its share. */
unsigned long cpus_unit(void);

/* Keeps all vCPUs busy until the domain is destroyed. */
void __attribute__((__noreturn__)) cpus_spin(void);

extern unsigned int nr_cpus;

#endif
