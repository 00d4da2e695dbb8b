/* SPDX-License-Identifier: MIT */
/*
 * Gives pages back to Xen, dirty as they are: a live domain that cares must clean them itself,
 * so these are residue that a probe has to find.
 */

#include "hypercall.h"
#include "kernel.h"
#include "platform.h"
#include "report.h"

/* Handed to Xen in one call; the stack is small. */
#define EXTENTS 256

static void give_back(unsigned long first, unsigned long end)
{
    xen_pfn_t frames[EXTENTS];
    unsigned long nr, i;

    for ( ; first < end; first += nr )
    {
        struct xen_memory_reservation reservation = { .domid = DOMID_SELF };

        nr = min(end - first, EXTENTS);
        for ( i = 0; i < nr; i++ )
            frames[i] = frame(first + i);
        reservation.nr_extents = nr;
        set_xen_guest_handle(reservation.extent_start, frames);
        if ( hyp_memory_op(XENMEM_decrease_reservation, &reservation) != nr )
            fail("XENMEM_decrease_reservation");
    }
}

void balloon(unsigned long pages)
{
    unsigned long end = memory.data_end, first, pfn;
    struct frame_list list;

    if ( !pages || end < data_start() || pages > end - data_start() )
    {
        report_error("balloon: no such number of pages to give", NULL);
        return;
    }

    first = end - pages;
    platform->unmap(first, end);
    give_back(first, end);
    memory.data_end = first;

    line_begin("ballooned");
    line_dec("pages", pages);
    line_end();

    frames_begin(&list, "ballooned", false);
    for ( pfn = first; pfn < end; pfn++ )
    {
        frames_add(&list, pfn, frame(pfn));
        if ( p2m )
            p2m[pfn] = ~0ul;
    }
    frames_end(&list);
}
