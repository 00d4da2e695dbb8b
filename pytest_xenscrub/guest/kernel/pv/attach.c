/* SPDX-License-Identifier: MIT */
/* What ties a PV guest to its domain, and how it leaves it for another one. */

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
 * Says where our p2m is: as a list in virtual addresses, which every toolstack since 4.6 reads.
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

/* It is no page of ours, so a saved domain must not map it. */
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

    /* Whoever restores us finds these frames by their pages, and writes the new ones. */
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
