/* SPDX-License-Identifier: MIT */
/* The functions that differ between types of guest: pv/ has them for PV, pvh/ for PVH and HVM. */

#ifndef PLATFORM_H
#define PLATFORM_H

#include "hypercall.h"
#include "lib.h"

struct platform {
    const char *type;           /* the type in the `hello` line */

    /* Finds the rings, their event channels, and shared_info; call it in each new domain. */
    void (*attach)(void);
    /* Suspends; returns whether the suspend was cancelled, so that the domain is still the same. */
    bool (*leave)(void);

    /* Writes entries of page tables that are part of the image, or that Xen has to check. */
    void (*write_ptes)(struct mmu_update *update, unsigned int nr);
    /* Turns a page of the image into a page table. */
    void (*make_table)(const void *table);
    void (*flush_tlb)(void);
    /* The L3 that maps the image. */
    const void *(*image_l3)(void);

    /* The lowest level of the direct map's tables: 1; with large pages 2 (2 MiB) or 3 (1 GiB). */
    unsigned int (*map_level)(void);
    /* Maps every page, with tables in the reserved area; claims L1 tables, if there are any. */
    void (*map_all)(void);
    /* Unmap each step-th page before it goes back to Xen, and map pages that were taken back. */
    void (*unmap)(unsigned long first, unsigned long end, unsigned long step);
    void (*map)(unsigned long first, unsigned long end);

    /* Makes a vCPU ready to run work_main(cpu, seen). */
    void (*initialise_vcpu)(unsigned int cpu, unsigned int seen, unsigned long stack_end);
};

/* Set before kernel_main(). */
extern const struct platform *platform;

/* Where all types begin, once `memory`, `p2m` and `platform` are set. */
void __attribute__((__noreturn__)) kernel_main(const char *command_line);

#endif
