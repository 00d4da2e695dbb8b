/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "hypercall.h"
#include "kernel.h"
#include "report.h"
#include "work.h"

#define PROGRESS_NS     (200 * NS_PER_MS)

/* Both multiples of what one L1 table maps, so no two units share a word of a bitmap. */
#define UNIT_MAX        (64ul << (20 - PAGE_SHIFT))
#define UNIT_MIN        (2ul << (20 - PAGE_SHIFT))

unsigned int nr_cpus = 1;

/* Each vCPU's event channel; an event means that the vCPU must look at the job again. */
static unsigned int port[MAX_VCPUS];

static struct {
    job_fn *fn;
    unsigned long end, unit;
    unsigned long next;
    unsigned long done;
    unsigned int generation;    /* changes with each new job */
    unsigned int finished;      /* secondary vCPUs that found nothing left to do */

    const char *op;
    unsigned long started, reported;
} job;

void work_bind(unsigned int cpu)
{
    struct evtchn_bind_ipi bind = { .vcpu = cpu };

    MUST(hyp_event_channel_op(EVTCHNOP_bind_ipi, &bind));
    port[cpu] = bind.port;
}

unsigned int work_seen(void)
{
    return job.generation;
}

unsigned long work_unit(void)
{
    unsigned long unit = UNIT_MAX;

    while ( unit > UNIT_MIN && unit * nr_cpus * 4 > memory.pages )
        unit /= 2;

    return unit;
}

static void report_progress(void)
{
    unsigned long now = now_ns();

    if ( !job.op || now - job.reported < PROGRESS_NS )
        return;

    job.reported = now;
    line_begin("progress");
    line_word("op", job.op);
    line_dec("bytes", READ_ONCE(job.done) << PAGE_SHIFT);
    line_dec("total", job.end << PAGE_SHIFT);
    line_dec("ns", now - job.started);
    line_end();
    console_kick();
}

static void take_units(unsigned int cpu)
{
    for ( ; ; )
    {
        unsigned long first = __atomic_fetch_add(&job.next, job.unit, __ATOMIC_ACQ_REL);
        unsigned long end = min(first + job.unit, job.end);

        if ( first >= job.end )
            return;

        job.fn(cpu, first, end);
        add_to(&job.done, end - first);

        if ( !cpu )
            report_progress();
    }
}

void work_main(unsigned int cpu, unsigned int seen)
{
    for ( ; ; )
    {
        while ( READ_ONCE(job.generation) == seen )
            wait_for(&port[cpu], 1, 0);
        seen++;
        barrier();

        take_units(cpu);

        if ( __atomic_add_fetch(&job.finished, 1, __ATOMIC_ACQ_REL) == nr_cpus - 1 )
            notify(port[0]);
    }
}

unsigned long work_run(job_fn *fn, unsigned long end, unsigned long unit, const char *op)
{
    unsigned int cpu;

    job.fn = fn;
    job.end = end;
    job.unit = unit;
    job.next = job.done = 0;
    job.finished = 0;
    job.op = op;
    job.started = job.reported = now_ns();
    __atomic_add_fetch(&job.generation, 1, __ATOMIC_ACQ_REL);

    for ( cpu = 1; cpu < nr_cpus; cpu++ )
        notify(port[cpu]);

    take_units(0);

    /*
     * Wait until all vCPUs have seen this job. A vCPU that looks later would take a unit of the
     * next job with this job's numbers.
     */
    while ( READ_ONCE(job.finished) != nr_cpus - 1 )
    {
        wait_for(&port[0], 1, PROGRESS_NS);
        report_progress();
    }

    return now_ns() - job.started;
}

static void spin(unsigned int cpu, unsigned long first, unsigned long end)
{
    for ( ; ; )
        asm volatile ( "pause" );
}

void work_spin(void)
{
    work_run(spin, MAX_VCPUS, 1, NULL);
    fail("spun to an end");
}
