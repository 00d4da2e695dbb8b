/* SPDX-License-Identifier: MIT */
/*
 * Gives dirty pages back to Xen. By contract Xen does not scrub what a live domain gives back, so
 * a probe must find residue in these pages.
 */

#include "hypercall.h"
#include "kernel.h"
#include "platform.h"
#include "report.h"

/* Pages in one hypercall; few, because the list is on the stack, which is small. */
#define EXTENTS 256

static void give_back(unsigned long first, unsigned long end, unsigned long step)
{
    xen_pfn_t frames[EXTENTS];
    unsigned long nr;

    platform->unmap(first, end, step);
    while ( first < end )
    {
        struct xen_memory_reservation reservation = { .domid = DOMID_SELF };

        for ( nr = 0; nr < EXTENTS && first < end; nr++, first += step )
            frames[nr] = frame(first);
        reservation.nr_extents = nr;
        set_xen_guest_handle(reservation.extent_start, frames);
        if ( hyp_memory_op(XENMEM_decrease_reservation, &reservation) != nr )
            fail("XENMEM_decrease_reservation");
    }
}

/* The tool must know these frames, because they are dirty for the next guest that reads them. */
static void report(unsigned long first, unsigned long end, unsigned long step)
{
    struct frame_list list;
    unsigned long pfn;

    line_begin("ballooned");
    line_dec("pages", DIV_ROUND_UP(end - first, step));
    line_end();

    frames_begin(&list, "ballooned", false);
    for ( pfn = first; pfn < end; pfn += step )
    {
        frames_add(&list, pfn, frame(pfn));
        if ( p2m )
            p2m[pfn] = ~0ul;
    }
    frames_end(&list);
}

void balloon(unsigned long pages)
{
    unsigned long end = memory.data_end, first = end - pages;

    if ( !pages || end < data_start() || pages > end - data_start() )
    {
        report_error("balloon: no such number of pages to give", NULL);
        return;
    }

    give_back(first, end, 1);
    memory.data_end = first;
    report(first, end, 1);
}

void punch(unsigned long step, unsigned long at)
{
    unsigned long first = data_start(), end = memory.data_end;

    first += (at % step + step - first % step) % step;
    if ( memory.punched.end || first >= end )
    {
        report_error("punch: done before, or no page to give", NULL);
        return;
    }

    give_back(first, end, step);
    memory.punched.first = first;
    memory.punched.end = end;
    memory.punched.step = step;
    report(first, end, step);
}
