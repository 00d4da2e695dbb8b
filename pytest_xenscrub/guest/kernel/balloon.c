/* SPDX-License-Identifier: MIT */
/*
 * Gives pages back to Xen, dirty as they are: a live domain that cares must clean them itself,
 * so these are residue that a probe has to find.
 */

#include "console.h"
#include "pagetable.h"
#include "report.h"
#include "reserve.h"

static void flush_all_tlbs(void)
{
    struct mmuext_op op = { .cmd = MMUEXT_TLB_FLUSH_ALL };

    MUST(hyp_mmuext_op(&op));
}

/* Xen frees a page when nobody refers to it, and a mapping is a reference. */
static void unmap(unsigned long first, unsigned long end)
{
    struct pte_batch batch = { };
    unsigned long pfn;

    for ( pfn = first; pfn < end; pfn++ )
        pte_set(&batch, p2m[reserved.l1 + pfn / ENTRIES], pfn % ENTRIES, 0);
    pte_flush(&batch);
    flush_all_tlbs();
}

static void give_back(unsigned long first, unsigned long end)
{
    struct xen_memory_reservation reservation = {
        .nr_extents = end - first,
        .domid = DOMID_SELF,
    };

    set_xen_guest_handle(reservation.extent_start, p2m + first);
    if ( hyp_memory_op(XENMEM_decrease_reservation, &reservation) != end - first )
        fail("XENMEM_decrease_reservation");
}

void balloon(unsigned long pages)
{
    unsigned long end = memory.data_end, first, pfn;
    struct frame_list list;

    if ( !pages || pages > end - max(memory.image_end, memory.p2m_end) )
    {
        report_error("balloon: no such number of pages to give", NULL);
        return;
    }

    first = end - pages;
    unmap(first, end);
    give_back(first, end);
    memory.data_end = first;

    line_begin("ballooned");
    line_dec("pages", pages);
    line_end();

    frames_begin(&list, "ballooned", false);
    for ( pfn = first; pfn < end; pfn++ )
    {
        frames_add(&list, pfn, p2m[pfn]);
        p2m[pfn] = ~0ul;
    }
    frames_end(&list);
}
