/* SPDX-License-Identifier: MIT */
/* What differs between the types of guest: pv/ has one of these, and pvh/ one for PVH and HVM. */

#ifndef PLATFORM_H
#define PLATFORM_H

#include "hypercall.h"
#include "lib.h"

struct platform {
    const char *type;           /* as `hello` says it */

    /* Our rings, their event channels, and shared_info: in each domain anew. */
    void (*attach)(void);
    /* Suspends; whether we are still in the domain that we were in when it returns. */
    bool (*leave)(void);

    /* Writes entries of page tables that are part of the image, or that Xen has to check. */
    void (*write_ptes)(struct mmu_update *update, unsigned int nr);
    /* From now on a page of the image is a page table. */
    void (*make_table)(const void *table);
    void (*flush_tlb)(void);
    /* The L3 that maps the image. */
    const void *(*image_l3)(void);

    /* The lowest level that the direct map has tables of: 1, or 2 or 3 if its pages are large. */
    unsigned int (*map_level)(void);
    /* Maps every page, with tables of the reserved area; those of L1 are not yet claimed. */
    void (*map_all)(void);
    /* Pages that go back to Xen, each step-th of them, and such that have come again. */
    void (*unmap)(unsigned long first, unsigned long end, unsigned long step);
    void (*map)(unsigned long first, unsigned long end);

    /* Makes a vCPU ready to run work_main(cpu, seen). */
    void (*initialise_vcpu)(unsigned int cpu, unsigned int seen, unsigned long stack_end);
};

/* Set before kernel_main(). */
extern const struct platform *platform;

/* The start of day that all types share; `memory`, `p2m` and `platform` are known. */
void __attribute__((__noreturn__)) kernel_main(const char *command_line);

#endif
