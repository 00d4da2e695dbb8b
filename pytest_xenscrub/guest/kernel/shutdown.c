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
    /* The toolstack may destroy us before the daemon has seen the line. */
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

/* We have no trap table, so to Xen a fault is a crash: what a real one looks like. */
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
