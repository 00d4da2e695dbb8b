/* SPDX-License-Identifier: MIT */
/*
 * Takes pages back from Xen that were given back before. It takes single pages, as a balloon driver
 * does; a domain builder takes 2 MiB at a time. A later scan judges these pages.
 */

#include "hypercall.h"
#include "kernel.h"
#include "platform.h"
#include "report.h"

/* Pages in one hypercall; few, because the list is on the stack, which is small. */
#define EXTENTS 256

/* On PV, Xen replaces each pfn in the list by the frame that it found for it. */
static unsigned long take_some(unsigned long first, unsigned long nr)
{
    struct xen_memory_reservation reservation = { .nr_extents = nr, .domid = DOMID_SELF };
    xen_pfn_t frames[EXTENTS];
    unsigned long i;
    long taken;

    for ( i = 0; i < nr; i++ )
        frames[i] = first + i;
    set_xen_guest_handle(reservation.extent_start, frames);
    taken = hyp_memory_op(XENMEM_populate_physmap, &reservation);
    if ( taken < 0 )
        fail("XENMEM_populate_physmap");
    for ( i = 0; p2m && i < taken; i++ )
        p2m[first + i] = frames[i];

    return taken;
}

static unsigned long take(unsigned long first, unsigned long end)
{
    unsigned long pfn, nr, taken;

    for ( pfn = first; pfn < end; pfn += nr )
    {
        nr = min(end - pfn, EXTENTS);
        taken = take_some(pfn, nr);
        if ( taken < nr )
            return pfn + taken - first;
    }

    return end - first;
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
    platform->map(first, end);
    memory.data_end = end;

    line_begin("populated");
    line_dec("pages", end - first);
    line_end();

    frames_begin(&list, "populated", false);
    for ( pfn = first; pfn < end; pfn++ )
        frames_add(&list, pfn, frame(pfn));
    frames_end(&list);
}
