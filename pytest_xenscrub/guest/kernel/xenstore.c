/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "hypercall.h"
#include "report.h"
#include "xenstore.h"

#include <xen/io/xs_wire.h>

#define SHUTDOWN_NODE   "control/shutdown"
#define PAYLOAD_MAX     128

static struct xenstore_domain_interface *ring;
static unsigned int port;
static bool watch_fired;

void xenstore_init(struct xenstore_domain_interface *xs, unsigned int evtchn)
{
    ring = xs;
    port = evtchn;
}

unsigned int xenstore_port(void)
{
    return port;
}

static void send(const void *data, size_t len)
{
    const char *byte = data;

    while ( len )
    {
        uint32_t prod = ring->req_prod;

        if ( prod - READ_ONCE(ring->req_cons) == XENSTORE_RING_SIZE )
        {
            notify(port);
            wait_for(&port, 1, 100 * NS_PER_MS);
            continue;
        }

        ring->req[MASK_XENSTORE_IDX(prod)] = *byte++;
        len--;
        barrier();
        WRITE_ONCE(ring->req_prod, prod + 1);
    }
}

/* Keeps what fits, drops the rest. */
static void receive(void *data, size_t room, size_t len)
{
    char *byte = data;

    while ( len )
    {
        uint32_t cons = ring->rsp_cons;

        if ( READ_ONCE(ring->rsp_prod) == cons )
        {
            notify(port);
            wait_for(&port, 1, 100 * NS_PER_MS);
            continue;
        }

        barrier();
        if ( room )
        {
            *byte++ = ring->rsp[MASK_XENSTORE_IDX(cons)];
            room--;
        }
        len--;
        barrier();
        WRITE_ONCE(ring->rsp_cons, cons + 1);
    }
}

/* Receives a message, with a NUL after its payload. Any watch event is of the one watched node. */
static uint32_t receive_message(char payload[PAYLOAD_MAX])
{
    struct xsd_sockmsg header;

    receive(&header, sizeof(header), sizeof(header));
    receive(payload, PAYLOAD_MAX - 1, header.len);
    payload[min(header.len, PAYLOAD_MAX - 1)] = '\0';
    if ( header.type == XS_WATCH_EVENT )
        watch_fired = true;

    return header.type;
}

/* Sends a request; returns whether it succeeded. The answer is in `payload`. */
static bool request(uint32_t type, const void *data, size_t len, char payload[PAYLOAD_MAX])
{
    struct xsd_sockmsg header = { .type = type, .len = len };
    uint32_t answer;

    send(&header, sizeof(header));
    send(data, len);
    notify(port);

    do {
        answer = receive_message(payload);
    } while ( answer == XS_WATCH_EVENT );

    return answer == type;
}

void xenstore_watch_shutdown(void)
{
    static const char watch[] = SHUTDOWN_NODE "\0" "shutdown";
    char payload[PAYLOAD_MAX];

    if ( !request(XS_WATCH, watch, sizeof(watch), payload) )
        report_error("cannot watch " SHUTDOWN_NODE, payload);
}

static void read_shutdown(shutdown_fn *handle)
{
    /* The node with an empty value. */
    static const char acknowledge[] = SHUTDOWN_NODE;
    char wanted[PAYLOAD_MAX], answer[PAYLOAD_MAX];

    if ( !request(XS_READ, SHUTDOWN_NODE, sizeof(SHUTDOWN_NODE), wanted) || !wanted[0] )
        return;

    request(XS_WRITE, acknowledge, sizeof(acknowledge), answer);
    handle(wanted);
}

void xenstore_poll(shutdown_fn *handle)
{
    char payload[PAYLOAD_MAX];

    while ( READ_ONCE(ring->rsp_prod) != ring->rsp_cons )
        receive_message(payload);

    if ( watch_fired )
    {
        watch_fired = false;
        read_shutdown(handle);
    }
}
