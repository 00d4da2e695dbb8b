/* SPDX-License-Identifier: MIT */
/* Typed wrappers of the hypercalls that this kernel uses. */

#ifndef HYPERCALL_H
#define HYPERCALL_H

#define __XEN_INTERFACE_VERSION__ 0x00040d00
#include <stdint.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

extern char hypercall_page[];

static inline __attribute__((__always_inline__)) long hypercall(
    unsigned int nr, unsigned long a1, unsigned long a2, unsigned long a3,
    unsigned long a4)
{
    register unsigned long r10 asm ( "r10" ) = a4;
    long rc;

    asm volatile ( "call hypercall_page + %c[offset]"
                   : "=a" (rc), "+D" (a1), "+S" (a2), "+d" (a3), "+r" (r10)
                   : [offset] "i" (nr * 32)
                   : "memory", "rcx", "r8", "r9", "r11" );

    return rc;
}

static inline long hyp_sched_op(unsigned int cmd, void *arg)
{
    return hypercall(__HYPERVISOR_sched_op, cmd, (unsigned long)arg, 0, 0);
}

/* Returns 1 in the same domain if the suspend was cancelled, 0 in a new domain. */
static inline long hyp_suspend(unsigned long start_info_mfn)
{
    struct sched_shutdown shutdown = { .reason = SHUTDOWN_suspend };

    return hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (unsigned long)&shutdown,
                     start_info_mfn, 0);
}

static inline long hyp_event_channel_op(unsigned int cmd, void *arg)
{
    return hypercall(__HYPERVISOR_event_channel_op, cmd, (unsigned long)arg, 0, 0);
}

static inline long hyp_vcpu_op(unsigned int cmd, unsigned int vcpu, void *arg)
{
    return hypercall(__HYPERVISOR_vcpu_op, cmd, vcpu, (unsigned long)arg, 0);
}

static inline long hyp_memory_op(unsigned int cmd, void *arg)
{
    return hypercall(__HYPERVISOR_memory_op, cmd, (unsigned long)arg, 0, 0);
}

static inline long hyp_hvm_op(unsigned int cmd, void *arg)
{
    return hypercall(__HYPERVISOR_hvm_op, cmd, (unsigned long)arg, 0, 0);
}

static inline long hyp_mmu_update(struct mmu_update *update, unsigned int nr)
{
    return hypercall(__HYPERVISOR_mmu_update, (unsigned long)update, nr, 0,
                     DOMID_SELF);
}

static inline long hyp_mmuext_op(struct mmuext_op *op)
{
    return hypercall(__HYPERVISOR_mmuext_op, (unsigned long)op, 1, 0, DOMID_SELF);
}

static inline long hyp_update_va_mapping(const void *va, unsigned long pte)
{
    return hypercall(__HYPERVISOR_update_va_mapping, (unsigned long)va, pte,
                     UVMF_INVLPG, 0);
}

#endif
