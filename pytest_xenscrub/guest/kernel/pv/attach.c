/* SPDX-License-Identifier: MIT */
/* Attaches a PV guest to its domain (rings, shared_info), and suspends it. */

#include "console.h"
#include "pv/pv.h"
#include "shared_info.h"
#include "window.h"
#include "xenstore.h"

static char shared_info_page[PAGE_SIZE] __page_aligned;

static void *image_va(unsigned long mfn)
{
    return (void *)(VIRT_BASE + (machine_to_phys_mapping[mfn] << PAGE_SHIFT));
}

/*
 * Tells the toolstack where the p2m is, by its virtual address, which toolstacks since 4.6 read.
 */
static void map_shared_info(void)
{
    const start_info_t *si = pv_start_info;

    MUST(hyp_update_va_mapping(shared_info_page, si->shared_info | PTE_RW));
    shared = (struct shared_info *)shared_info_page;
    shared_info_mask();

    shared->arch.max_pfn = memory.end;
    shared->arch.pfn_to_mfn_frame_list_list = ~0ul;
    shared->arch.p2m_vaddr = (unsigned long)p2m;
    shared->arch.p2m_cr3 = xen_pfn_to_cr3(image_frame((const void *)si->pt_base));
}

/* The page does not belong to the domain, so a domain that is saved must not map it. */
static void unmap_shared_info(void)
{
    unsigned long pte = image_frame(shared_info_page) << PAGE_SHIFT | PTE_RW;

    MUST(hyp_update_va_mapping(shared_info_page, pte));
}

void pv_attach(void)
{
    const start_info_t *si = pv_start_info;

    console_init(image_va(si->console.domU.mfn), si->console.domU.evtchn);
    xenstore_init(image_va(si->store_mfn), si->store_evtchn);
    map_shared_info();
}

bool pv_leave(void)
{
    start_info_t *si = pv_start_info;
    unsigned long store_pfn = machine_to_phys_mapping[si->store_mfn];
    unsigned long console_pfn = machine_to_phys_mapping[si->console.domU.mfn];
    bool cancelled;

    /* A restore finds these frames by their pfns, and replaces the pfns by the new frames. */
    si->store_mfn = store_pfn;
    si->console.domU.mfn = console_pfn;
    unmap_shared_info();

    cancelled = hyp_suspend(image_frame(si)) != 0;

    if ( cancelled )
    {
        si->store_mfn = p2m[store_pfn];
        si->console.domU.mfn = p2m[console_pfn];
    }

    return cancelled;
}
