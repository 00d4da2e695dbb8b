/* SPDX-License-Identifier: MIT */
/* From the start of day to the loop that waits for commands. */

#include "clock.h"
#include "console.h"
#include "cpus.h"
#include "hypercall.h"
#include "kernel.h"
#include "platform.h"
#include "report.h"
#include "reserve.h"
#include "residue.h"
#include "scan.h"
#include "suspend.h"
#include "window.h"
#include "work.h"
#include "xenstore.h"

struct memory memory;
unsigned long *p2m;
const struct platform *platform;

/*
 * Lays out a domain whose memory map shows more than it has. Xen populates a page when it is first
 * touched. That holds for gaps between the builder's pages too, so this touches that whole area.
 */
static void populate_on_demand(void)
{
    unsigned long pfn;

    if ( memory.hole_end && options.pages > memory.hole_start )
        memory.end = options.pages + memory.hole_end - memory.hole_start;
    else
    {
        memory.end = options.pages;
        memory.hole_start = memory.hole_end = 0;
    }
    memory.pages = options.pages - (memory.vga_end - memory.vga_start);

    for ( pfn = 0; pfn < memory.image_end; pfn++ )
        *(volatile const char *)(VIRT_BASE + (pfn << PAGE_SHIFT));
}

static bool ends_action(char c)
{
    return c == ',' || c == ' ' || c == '\0';
}

/* The number behind `key` if an action begins with `key`; else 0. */
static unsigned long number_of(const char *name, size_t len, const char *key)
{
    size_t key_len = strlen(key);

    return len > key_len && !memcmp(name, key, key_len) ? parse_number(name + key_len) : 0;
}

/* The number behind the first `c` in an action; 0 if the action has no `c`. */
static unsigned long number_behind(const char *name, size_t len, char c)
{
    for ( ; len > 1; name++, len-- )
        if ( *name == c )
            return parse_number(name + 1);

    return 0;
}

static void ready(void)
{
    line_begin("ready");
    line_end();
    console_kick();
}

static void run_action(const char *name, size_t len)
{
    unsigned long pages;

    if ( word_is(name, len, "scan") )
        scan();
    else if ( word_is(name, len, "fill") )
        fill();
    else if ( word_is(name, len, "verify") )
        verify();
    else if ( word_is(name, len, "frames") )
        report_frames();
    else if ( (pages = number_of(name, len, "balloon=")) )
        balloon(pages);
    else if ( (pages = number_of(name, len, "punch=")) )
        punch(pages, number_behind(name, len, ':'));
    else if ( (pages = number_of(name, len, "populate=")) )
        populate(pages);
    else if ( (pages = number_of(name, len, "overdraw=")) )
        overdraw(pages);
    else if ( (pages = number_of(name, len, "roam=")) )
    {
        ready();
        roam(pages);
    }
    else if ( word_is(name, len, "spin") )
    {
        /* The guest prints nothing after this. */
        ready();
        work_spin();
    }
    else if ( word_is(name, len, "crash") )
        crash();
    else if ( word_is(name, len, "poweroff") )
        die(SHUTDOWN_poweroff, "poweroff");
    else if ( word_is(name, len, "reboot") )
        die(SHUTDOWN_reboot, "reboot");
    else
    {
        char text[CONSOLE_LINE_MAX + 1];

        len = min(len, CONSOLE_LINE_MAX);
        memcpy(text, name, len);
        text[len] = '\0';
        report_error("no such action", text);
    }

    /* A new allowance for each action; the first scan shares one with build_world(). */
    residue_show(options.show);
}

/* Runs all actions if `wanted` is NULL; else tells whether `wanted` is one of them. */
static bool each_action(const char *list, const char *wanted)
{
    while ( !ends_action(*list) || *list == ',' )
    {
        const char *name = list;
        size_t len;

        while ( !ends_action(*list) )
            list++;
        len = list - name;
        if ( *list == ',' )
            list++;

        if ( !len )
            continue;
        if ( !wanted )
            run_action(name, len);
        else if ( word_is(name, len, wanted) )
            return true;
    }

    return false;
}

void actions_run(const char *list)
{
    each_action(list, NULL);
}

static void shutdown_wanted(const char *wanted)
{
    size_t len = strlen(wanted);

    if ( word_is(wanted, len, "suspend") )
        suspend();
    else if ( word_is(wanted, len, "poweroff") || word_is(wanted, len, "halt") )
        die(SHUTDOWN_poweroff, "poweroff");
    else if ( word_is(wanted, len, "reboot") )
        die(SHUTDOWN_reboot, "reboot");
    else
        report_error("asked for a shutdown of a kind that is not supported", wanted);
}

static void say_hello(void)
{
    /* Ends an incomplete line that an earlier guest may have left on this console. */
    console_write("\r\n", 2);

    line_begin("hello");
    line_dec("protocol", PROTOCOL_VERSION);
    line_word("type", platform->type);
    line_dec("pages", memory.pages);
    line_dec("vcpus", nr_cpus);
    line_hex("run", options.run);
    line_dec("guest", options.guest);
    line_hex("clean", options.clean);
    line_end();
    console_kick();
}

/*
 * Sets up the pages that this kernel needs. Each of them is judged before it is written to,
 * whether or not a scan was asked for, because a write would destroy residue.
 */
static void build_world(void)
{
    bool scans = each_action(options.actions, "scan");

    residue_show(scans ? options.show : 0);

    reserve_layout(nr_cpus);
    reserve_early();
    cpus_start();
    reserve_claim();
    platform->map_all();

    if ( !scans )
        residue_show(options.show);
}

void kernel_main(const char *command_line)
{
    unsigned int ports[2];
    const char *command;

    windows_init();
    platform->attach();
    options_parse(command_line);
    if ( options.pages && options.pages < memory.pages )
        populate_on_demand();
    cpus_count();
    say_hello();

    build_world();

    actions_run(options.actions);
    ready();

    xenstore_watch_shutdown();
    for ( ; ; )
    {
        xenstore_poll(shutdown_wanted);
        /* Commands come last: xenstore_poll() may print, and clear a command's event by that. */
        while ( (command = console_read_line()) != NULL )
        {
            actions_run(command);
            ready();
        }
        /* Read again each time, because a suspend changes the ports. */
        ports[0] = console_port();
        ports[1] = xenstore_port();
        wait_for(ports, ARRAY_SIZE(ports), 0);
    }
}
