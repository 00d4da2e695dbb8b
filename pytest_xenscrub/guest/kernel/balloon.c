/* SPDX-License-Identifier: MIT */
/*
 * Gives pages back to Xen, dirty as they are: a live domain that cares must clean them itself,
 * so these are residue that a probe has to find.
 */

#include "directmap.h"
#include "hypercall.h"
#include "report.h"

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
    direct_map_drop(first, end);
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
