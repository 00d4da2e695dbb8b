/* SPDX-License-Identifier: MIT */
/* The ends of a domain. */

#include "console.h"
#include "hypercall.h"
#include "kernel.h"
#include "report.h"

static void say_goodbye(const char *reason)
{
    line_begin("bye");
    line_word("reason", reason);
    line_end();
    /* Waits, because the toolstack may destroy the domain before the daemon has read the line. */
    console_drain();
}

static void __attribute__((__noreturn__)) shut_down(unsigned int reason)
{
    struct sched_shutdown shutdown = { .reason = reason };

    for ( ; ; )
        hyp_sched_op(SCHEDOP_shutdown, &shutdown);
}

void die(unsigned int reason, const char *name)
{
    say_goodbye(name);
    shut_down(reason);
}

/* A page fault, as in a real crash: PV guests have no trap table, PVH guests end in pvh_crash(). */
void crash(void)
{
    volatile unsigned long *nothing = (void *)PAGE_SIZE;

    say_goodbye("crash");
    for ( ; ; )
        *nothing = 1;
}

void fail(const char *what)
{
    report_error(what, NULL);
    console_drain();
    shut_down(SHUTDOWN_crash);
}
