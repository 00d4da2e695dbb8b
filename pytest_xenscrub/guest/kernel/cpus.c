/* SPDX-License-Identifier: MIT */

#include "cpus.h"
#include "platform.h"
#include "reserve.h"
#include "work.h"

unsigned int cpus_count(void)
{
    unsigned int limit = options.vcpus ? min(options.vcpus, MAX_VCPUS) : MAX_VCPUS;

    while ( nr_cpus < limit && hyp_vcpu_op(VCPUOP_is_up, nr_cpus, NULL) >= 0 )
        nr_cpus++;

    return nr_cpus;
}

static void start(unsigned int cpu)
{
    static void *stacks[MAX_VCPUS];

    if ( !stacks[cpu] )
        stacks[cpu] = reserve_stack(cpu);

    work_bind(cpu);

    /* shared_info has room for 32 vCPUs; others have vcpu_info at the low end of their stack. */
    if ( cpu >= XEN_LEGACY_MAX_VCPUS )
    {
        struct vcpu_register_vcpu_info info = { .mfn = frame(reserve_stack_pfn(cpu)) };

        MUST(hyp_vcpu_op(VCPUOP_register_vcpu_info, cpu, &info));
    }

    platform->initialise_vcpu(cpu, work_seen(),
                              (unsigned long)stacks[cpu] + STACK_PAGES * PAGE_SIZE);
    MUST(hyp_vcpu_op(VCPUOP_up, cpu, NULL));
}

void cpus_start(void)
{
    unsigned int cpu;

    work_bind(0);
    for ( cpu = 1; cpu < nr_cpus; cpu++ )
        start(cpu);
}

/* The other vCPUs wait for a job, so none of them is stopped in the middle of one. */
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
