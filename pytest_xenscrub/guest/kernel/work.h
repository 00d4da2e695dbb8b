/* SPDX-License-Identifier: MIT */
/* Work shared out among all vCPUs. */

#ifndef WORK_H
#define WORK_H

#include "lib.h"

/* vCPUs that share the work. */
extern unsigned int nr_cpus;

/* Does the part [first, end) of a job. */
typedef void job_fn(unsigned int cpu, unsigned long first, unsigned long end);

/*
 * Does a job [0, end) in units, on all vCPUs; returns how long it took, in ns.
 * With an `op`, items are pages, and their progress is reported under that name.
 */
unsigned long work_run(job_fn *fn, unsigned long end, unsigned long unit, const char *op);

/* Pages to a unit: 64 MiB, or less to give each vCPU of a small domain its share. */
unsigned long work_unit(void);

/* Keeps all vCPUs busy until the domain is destroyed. */
void __attribute__((__noreturn__)) work_spin(void);

/* Binds a vCPU's event channel for new jobs; call it again in each new domain. */
void work_bind(unsigned int cpu);

/* The last job; a vCPU that is started now waits for the next one. */
unsigned int work_seen(void);

/* The main loop of all vCPUs but the first. `seen`: the last job before the vCPU was started. */
void __attribute__((__noreturn__)) work_main(unsigned int cpu, unsigned int seen);

#endif
