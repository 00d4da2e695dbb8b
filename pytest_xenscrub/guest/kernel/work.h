/* SPDX-License-Identifier: MIT */
/* Work shared out among all vCPUs. */

#ifndef WORK_H
#define WORK_H

#include "lib.h"

/* vCPUs that share the work. */
extern unsigned int nr_cpus;

/* Does [first, end) of whatever is to be done. */
typedef void job_fn(unsigned int cpu, unsigned long first, unsigned long end);

/*
 * Does [0, end) in units, on all vCPUs; returns when all of it is done, with the ns it took.
 * With an `op`, items are pages, and their progress is reported under that name.
 */
unsigned long work_run(job_fn *fn, unsigned long end, unsigned long unit, const char *op);

/* Pages to a unit: 64 MiB, or less to give each vCPU of a small domain its share. */
unsigned long work_unit(void);

/* Keeps all vCPUs busy until the domain is destroyed. */
void __attribute__((__noreturn__)) work_spin(void);

/* A vCPU's event channel, "look at the job again": in each domain anew. */
void work_bind(unsigned int cpu);

/* The last job; a vCPU that is started now waits for the next one. */
unsigned int work_seen(void);

/* What all vCPUs but the first do for ever. `seen`: the last job before they were started. */
void __attribute__((__noreturn__)) work_main(unsigned int cpu, unsigned int seen);

#endif
