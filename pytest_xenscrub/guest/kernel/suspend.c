/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "cpus.h"
#include "kernel.h"
#include "report.h"
#include "shared_info.h"
#include "suspend.h"
#include "window.h"
#include "xenstore.h"

static start_info_t *start_info;

void attach(start_info_t *si)
{
    start_info = si;
    console_init(image_va(si->console.domU.mfn), si->console.domU.evtchn);
    xenstore_init(image_va(si->store_mfn), si->store_evtchn);
    shared_info_map(si, (const void *)si->pt_base);
}

/* Returns whether we are still in the domain that we were in. */
static bool leave(void)
{
    start_info_t *si = start_info;
    unsigned long store_pfn = machine_to_phys_mapping[si->store_mfn];
    unsigned long console_pfn = machine_to_phys_mapping[si->console.domU.mfn];
    bool cancelled;

    /* Whoever restores us finds these frames by their pages, and writes the new ones. */
    si->store_mfn = store_pfn;
    si->console.domU.mfn = console_pfn;
    shared_info_unmap();

    cancelled = hyp_suspend(image_mfn(si)) != 0;

    if ( cancelled )
    {
        si->store_mfn = p2m[store_pfn];
        si->console.domU.mfn = p2m[console_pfn];
    }

    return cancelled;
}

void suspend(void)
{
    unsigned long left;
    bool cancelled;

    console_drain();
    cpus_down();

    left = now_ns();
    cancelled = leave();
    attach(start_info);

    if ( cancelled )
        cpus_up();
    else
    {
        cpus_start((const void *)start_info->pt_base);
        xenstore_watch_shutdown();
        frames_moved();
    }
    left = now_ns() - left;

    report_frames();
    line_begin("resumed");
    line_dec("cancelled", cancelled);
    line_dec("ns", left);
    line_end();
    console_kick();
}
