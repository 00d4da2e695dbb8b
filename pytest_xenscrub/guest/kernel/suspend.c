/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "cpus.h"
#include "kernel.h"
#include "platform.h"
#include "report.h"
#include "suspend.h"
#include "xenstore.h"

void suspend(void)
{
    unsigned long left;
    bool cancelled;

    console_drain();
    cpus_down();

    left = now_ns();
    cancelled = platform->leave();
    platform->attach();

    if ( cancelled )
        cpus_up();
    else
    {
        cpus_start();
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
