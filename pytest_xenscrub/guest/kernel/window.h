/* SPDX-License-Identifier: MIT */
/* Page tables, and windows onto single pages. */

#ifndef WINDOW_H
#define WINDOW_H

#include "hypercall.h"
#include "kernel.h"

/* Present, accessed, dirty. Without USER: Xen adds that for a 64-bit PV kernel. */
#define PTE_RW      0x63ul
#define PTE_RO      0x61ul
/* For levels above L1. */
#define PTE_TABLE   0x67ul

#define ENTRIES     512ul
#define L4_INDEX(va) (((va) >> 39) & (ENTRIES - 1))

/* Pages that a vCPU can have in its window. */
#define WINDOW_SLOTS 32

/* Collects updates, because a hypercall costs more than an update. */
struct pte_batch {
    unsigned int nr;
    struct mmu_update update[WINDOW_SLOTS];
};

void pte_set(struct pte_batch *batch, unsigned long table_mfn, unsigned long index,
             unsigned long pte);
void pte_flush(struct pte_batch *batch);

/* The frame of an address in the image, or in what the builder placed behind the image. */
static inline unsigned long image_frame(const void *va)
{
    return frame(((unsigned long)va - VIRT_BASE) >> PAGE_SHIFT);
}

void windows_init(void);

/* Maps pages writable, in the caller's own window; they stay until window_unmap(). */
void *window_map(unsigned int cpu, unsigned long pfn, unsigned int nr);
void window_unmap(unsigned int cpu, unsigned int nr);

/* Maps one more page for good, behind the one before. */
#define KEPT_PAGES ENTRIES
void *keep_mapped(unsigned long pfn);

#endif
