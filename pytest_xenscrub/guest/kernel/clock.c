/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "hypercall.h"
#include "shared_info.h"

unsigned long now_ns(void)
{
    const volatile struct vcpu_time_info *t = &shared->vcpu_info[0].time;
    unsigned long delta, ns;
    uint32_t version, lo, hi;

    do {
        version = t->version;
        barrier();

        asm volatile ( "lfence; rdtsc" : "=a" (lo), "=d" (hi) );
        delta = ((unsigned long)hi << 32 | lo) - t->tsc_timestamp;
        if ( t->tsc_shift < 0 )
            delta >>= -t->tsc_shift;
        else
            delta <<= t->tsc_shift;
        ns = t->system_time +
             (unsigned long)(((unsigned __int128)delta * t->tsc_to_system_mul) >> 32);

        barrier();
    } while ( (version & 1) || version != t->version );

    return ns;
}

void yield(void)
{
    hyp_sched_op(SCHEDOP_yield, NULL);
}

/* Polls, because SCHEDOP_block would enable upcalls, and this kernel has no handler for them. */
void wait_for(const unsigned int *ports, unsigned int nr, unsigned long ns)
{
    struct sched_poll poll = {
        .nr_ports = nr,
        .timeout = ns ? now_ns() + ns : 0,
    };
    unsigned int i;

    set_xen_guest_handle(poll.ports, (evtchn_port_t *)ports);
    hyp_sched_op(SCHEDOP_poll, &poll);

    for ( i = 0; i < nr; i++ )
        __atomic_fetch_and(&shared->evtchn_pending[ports[i] / BITS_PER_WORD],
                           ~(1ul << (ports[i] % BITS_PER_WORD)), __ATOMIC_SEQ_CST);
}

void notify(unsigned int port)
{
    struct evtchn_send send = { .port = port };

    hyp_event_channel_op(EVTCHNOP_send, &send);
}
