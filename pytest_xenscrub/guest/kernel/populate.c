/* SPDX-License-Identifier: MIT */
/*
 * Takes pages back from Xen that were given back before: singly, as a balloon driver does, where
 * a domain builder takes 2 MiB at a time. What is in them is for a scan to say.
 */

#include "directmap.h"
#include "hypercall.h"
#include "report.h"

/* Xen replaces each pfn in the list by the frame that it found for it. */
static unsigned long take(unsigned long first, unsigned long end)
{
    struct xen_memory_reservation reservation = {
        .nr_extents = end - first,
        .domid = DOMID_SELF,
    };
    unsigned long pfn;
    long taken;

    for ( pfn = first; pfn < end; pfn++ )
        p2m[pfn] = pfn;
    set_xen_guest_handle(reservation.extent_start, p2m + first);
    taken = hyp_memory_op(XENMEM_populate_physmap, &reservation);
    if ( taken < 0 )
        fail("XENMEM_populate_physmap");
    for ( pfn = first + taken; pfn < end; pfn++ )
        p2m[pfn] = ~0ul;

    return taken;
}

void populate(unsigned long pages)
{
    unsigned long first = memory.data_end, end, pfn;
    struct frame_list list;

    if ( !pages || pages > memory.reserved - first )
    {
        report_error("populate: no such number of pages was given back", NULL);
        return;
    }

    end = first + take(first, first + pages);
    direct_map_add(first, end);
    memory.data_end = end;

    line_begin("populated");
    line_dec("pages", end - first);
    line_end();

    frames_begin(&list, "populated", false);
    for ( pfn = first; pfn < end; pfn++ )
        frames_add(&list, pfn, p2m[pfn]);
    frames_end(&list);
}
