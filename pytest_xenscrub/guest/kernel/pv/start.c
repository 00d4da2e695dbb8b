/* SPDX-License-Identifier: MIT */
/* The PV platform, and a PV guest's first steps. */

#include "pv/pv.h"
#include "window.h"

#define PTE_MFN(pte)    (((pte) & 0x000ffffffffff000ul) >> PAGE_SHIFT)

extern char pv_start_secondary[];
void __attribute__((__noreturn__)) pv_main(start_info_t *si, unsigned long boot_stack_end);

start_info_t *pv_start_info;

static void write_ptes(struct mmu_update *update, unsigned int nr)
{
    MUST(hyp_mmu_update(update, nr));
}

/* Xen allows no writable mapping of a page table, so the image's mapping becomes read-only. */
static void make_table(const void *table)
{
    MUST(hyp_update_va_mapping(table, image_frame(table) << PAGE_SHIFT | PTE_RO));
}

static void flush_tlb(void)
{
    struct mmuext_op op = { .cmd = MMUEXT_TLB_FLUSH_LOCAL };

    MUST(hyp_mmuext_op(&op));
}

static const void *image_l3(void)
{
    const unsigned long *l4 = (const unsigned long *)pv_start_info->pt_base;
    unsigned long mfn = PTE_MFN(l4[L4_INDEX(VIRT_BASE)]);

    return (const void *)(VIRT_BASE + (machine_to_phys_mapping[mfn] << PAGE_SHIFT));
}

static unsigned int map_level(void)
{
    return 1;
}

static void initialise_vcpu(unsigned int cpu, unsigned int seen, unsigned long stack_end)
{
    static struct vcpu_guest_context context;

    memset(&context, 0, sizeof(context));
    context.flags = VGCF_IN_KERNEL;
    context.user_regs.rip = (unsigned long)pv_start_secondary;
    context.user_regs.rsp = stack_end;
    context.user_regs.rdi = cpu;
    context.user_regs.rsi = seen;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rflags = 0x200;
    context.kernel_ss = FLAT_KERNEL_SS;
    context.kernel_sp = stack_end;
    context.ctrlreg[3] = xen_pfn_to_cr3(image_frame((const void *)pv_start_info->pt_base));

    MUST(hyp_vcpu_op(VCPUOP_initialise, cpu, &context));
}

static const struct platform pv = {
    .type = "pv",
    .attach = pv_attach,
    .leave = pv_leave,
    .write_ptes = write_ptes,
    .make_table = make_table,
    .flush_tlb = flush_tlb,
    .image_l3 = image_l3,
    .map_level = map_level,
    .map_all = pv_map_all,
    .unmap = pv_unmap,
    .map = pv_map,
    .initialise_vcpu = initialise_vcpu,
};

void pv_main(start_info_t *si, unsigned long boot_stack_end)
{
    platform = &pv;
    pv_start_info = si;
    p2m = (unsigned long *)si->mfn_list;
    memory.pages = memory.end = si->nr_pages;
    memory.image_end = (boot_stack_end - VIRT_BASE) >> PAGE_SHIFT;
    memory.p2m_start = si->first_p2m_pfn;
    memory.p2m_end = si->first_p2m_pfn + si->nr_p2m_frames;

    kernel_main((const char *)si->cmd_line);
}
