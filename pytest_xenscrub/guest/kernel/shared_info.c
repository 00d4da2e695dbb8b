/* SPDX-License-Identifier: MIT */

#include "shared_info.h"
#include "window.h"

char shared_info_page[PAGE_SIZE] __page_aligned;

void shared_info_map(const start_info_t *si, const void *l4)
{
    MUST(hyp_update_va_mapping(shared_info_page, si->shared_info | PTE_RW));
    memset(shared->evtchn_mask, 0xff, sizeof(shared->evtchn_mask));

    shared->arch.max_pfn = memory.pages;
    shared->arch.pfn_to_mfn_frame_list_list = ~0ul;
    shared->arch.p2m_vaddr = (unsigned long)p2m;
    shared->arch.p2m_cr3 = xen_pfn_to_cr3(image_mfn(l4));
}

void shared_info_unmap(void)
{
    unsigned long pte = image_mfn(shared_info_page) << PAGE_SHIFT | PTE_RW;

    MUST(hyp_update_va_mapping(shared_info_page, pte));
}
