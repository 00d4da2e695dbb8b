/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "cpus.h"
#include "pagetable.h"
#include "report.h"
#include "reserve.h"

#define PROGRESS_NS     (200 * NS_PER_MS)

/* Both multiples of what one L1 table maps, so no two units share a word of a bitmap. */
#define UNIT_MAX        (64ul << (20 - PAGE_SHIFT))
#define UNIT_MIN        (2ul << (20 - PAGE_SHIFT))

extern char start_secondary[];
void cpu_main(unsigned int cpu, unsigned int seen);

unsigned int nr_cpus = 1;

/* Each vCPU's event channel: "look at the job again". */
static unsigned int port[MAX_VCPUS];

static struct {
    job_fn *fn;
    unsigned long end, unit;
    unsigned long next;
    unsigned long done;
    unsigned int generation;    /* changes: a new job */
    unsigned int finished;      /* secondary vCPUs that found nothing left to do */

    const char *op;
    unsigned long started, reported;
} job;

unsigned int cpus_count(void)
{
    unsigned int limit = options.vcpus ? min(options.vcpus, MAX_VCPUS) : MAX_VCPUS;

    while ( nr_cpus < limit && hyp_vcpu_op(VCPUOP_is_up, nr_cpus, NULL) >= 0 )
        nr_cpus++;

    return nr_cpus;
}

unsigned long cpus_unit(void)
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

static void work(unsigned int cpu)
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

/* `seen`: of the last job before it was started. */
void cpu_main(unsigned int cpu, unsigned int seen)
{
    for ( ; ; )
    {
        while ( READ_ONCE(job.generation) == seen )
            wait_for(&port[cpu], 1, 0);
        seen++;
        barrier();

        work(cpu);

        if ( __atomic_add_fetch(&job.finished, 1, __ATOMIC_ACQ_REL) == nr_cpus - 1 )
            notify(port[0]);
    }
}

unsigned long cpus_run(job_fn *fn, unsigned long end, unsigned long unit, const char *op)
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

    work(0);

    /*
     * Wait for the vCPUs, not for the work: one that comes late would take a unit of the next
     * job by this one's numbers.
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

void cpus_spin(void)
{
    cpus_run(spin, MAX_VCPUS, 1, NULL);
    fail("spun to an end");
}

static unsigned int bind_port(unsigned int cpu)
{
    struct evtchn_bind_ipi bind = { .vcpu = cpu };

    MUST(hyp_event_channel_op(EVTCHNOP_bind_ipi, &bind));

    return bind.port;
}

static void start(unsigned int cpu, unsigned long l4_mfn)
{
    static struct vcpu_guest_context context;
    static void *stacks[MAX_VCPUS];

    if ( !stacks[cpu] )
        stacks[cpu] = reserve_stack(cpu);

    port[cpu] = bind_port(cpu);

    /* shared_info has room for the first 32; the others' is at the low end of their stack. */
    if ( cpu >= XEN_LEGACY_MAX_VCPUS )
    {
        struct vcpu_register_vcpu_info info = { .mfn = p2m[reserve_stack_pfn(cpu)] };

        MUST(hyp_vcpu_op(VCPUOP_register_vcpu_info, cpu, &info));
    }

    memset(&context, 0, sizeof(context));
    context.flags = VGCF_IN_KERNEL;
    context.user_regs.rip = (unsigned long)start_secondary;
    context.user_regs.rsp = (unsigned long)stacks[cpu] + STACK_PAGES * PAGE_SIZE;
    context.user_regs.rdi = cpu;
    context.user_regs.rsi = job.generation;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rflags = 0x200;
    context.kernel_ss = FLAT_KERNEL_SS;
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = xen_pfn_to_cr3(l4_mfn);

    MUST(hyp_vcpu_op(VCPUOP_initialise, cpu, &context));
    MUST(hyp_vcpu_op(VCPUOP_up, cpu, NULL));
}

void cpus_start(const void *l4)
{
    unsigned int cpu;

    port[0] = bind_port(0);
    for ( cpu = 1; cpu < nr_cpus; cpu++ )
        start(cpu, image_mfn(l4));
}

/* They wait for a job, so there is nothing that they could be in the midst of. */
void cpus_down(void)
{
    unsigned int cpu;

    for ( cpu = 1; cpu < nr_cpus; cpu++ )
        MUST(hyp_vcpu_op(VCPUOP_down, cpu, NULL));
}

void cpus_up(void)
{
    unsigned int cpu;

    for ( cpu = 1; cpu < nr_cpus; cpu++ )
        MUST(hyp_vcpu_op(VCPUOP_up, cpu, NULL));
}
