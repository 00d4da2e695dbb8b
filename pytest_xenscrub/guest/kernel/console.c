/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "hypercall.h"

#include <xen/io/console.h>

static struct xencons_interface *console;
static unsigned int port;

void console_init(struct xencons_interface *ring, unsigned int evtchn)
{
    console = ring;
    port = evtchn;
}

unsigned int console_port(void)
{
    return port;
}

void console_kick(void)
{
    notify(port);
}

void console_write(const char *text, size_t len)
{
    while ( len )
    {
        uint32_t prod = console->out_prod;
        uint32_t room = sizeof(console->out) - (prod - READ_ONCE(console->out_cons));

        if ( !room )
        {
            console_kick();
            /* The daemon answers with an event; the limit is for an event that gets lost. */
            wait_for(&port, 1, 5 * NS_PER_MS);
            continue;
        }

        for ( ; room && len; room--, len-- )
            console->out[MASK_XENCONS_IDX(prod++, console->out)] = *text++;

        barrier();
        WRITE_ONCE(console->out_prod, prod);
    }
}

void console_drain(void)
{
    unsigned int tries;

    console_kick();
    for ( tries = 0; tries < 100; tries++ )
    {
        if ( READ_ONCE(console->out_cons) == console->out_prod )
            return;
        wait_for(&port, 1, 5 * NS_PER_MS);
    }
}

const char *console_read_line(void)
{
    static char line[CONSOLE_LINE_MAX + 1];
    static unsigned int len;
    uint32_t cons = console->in_cons, prod = READ_ONCE(console->in_prod);
    const char *complete = NULL;

    barrier();
    while ( cons != prod && !complete )
    {
        char c = console->in[MASK_XENCONS_IDX(cons++, console->in)];

        if ( c != '\n' && c != '\r' )
        {
            /* The rest of a line that is too long is dropped, and the line matches no command. */
            if ( len < CONSOLE_LINE_MAX )
                line[len++] = c;
        }
        else if ( len )
        {
            line[len] = '\0';
            len = 0;
            complete = line;
        }
    }
    barrier();
    WRITE_ONCE(console->in_cons, cons);

    return complete;
}
