/* SPDX-License-Identifier: MIT */

#include "cpus.h"
#include "hypercall.h"
#include "reserve.h"
#include "window.h"
#include "work.h"

extern char start_secondary[];

unsigned int cpus_count(void)
{
    unsigned int limit = options.vcpus ? min(options.vcpus, MAX_VCPUS) : MAX_VCPUS;

    while ( nr_cpus < limit && hyp_vcpu_op(VCPUOP_is_up, nr_cpus, NULL) >= 0 )
        nr_cpus++;

    return nr_cpus;
}

static void start(unsigned int cpu, unsigned long l4_mfn)
{
    static struct vcpu_guest_context context;
    static void *stacks[MAX_VCPUS];

    if ( !stacks[cpu] )
        stacks[cpu] = reserve_stack(cpu);

    work_bind(cpu);

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
    context.user_regs.rsi = work_seen();
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

    work_bind(0);
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
