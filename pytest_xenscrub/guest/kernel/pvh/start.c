/* SPDX-License-Identifier: MIT */
/* The platform of PVH and HVM guests, and their first steps. */

#include "pvh/pvh.h"
#include "window.h"

#include <xen/arch-x86/hvm/start_info.h>
#include <xen/hvm/hvm_info_table.h>
#include <xen/hvm/hvm_vcpu.h>

#define XEN_CPUID_FIRST 0x40000000
#define XEN_CPUID_LAST  0x40010000
#define XEN_CPUID_STEP  0x100
#define XEN_SIGNATURE   0x566e6558      /* "XenV" */

#define CODE_SEGMENT    8
#define INTERRUPT_GATE  0x8e00ul
#define NR_FAULTS       32

/* An HVM guest's memory below 1 MiB, which exists although the builder's map leaves it out. */
#define VGA_START       0xa0ul
#define VGA_END         0xc0ul
#define LOW_END         0x100ul

extern char pvh_start_secondary[], pvh_fault[], image_end[];
extern unsigned long pvh_idt[NR_FAULTS][2];
void __attribute__((__noreturn__)) pvh_main(unsigned long start_info);
void __attribute__((__noreturn__)) pvh_crash(void);

/* Writes the entries directly, because Xen does not check a PVH guest's page tables. */
static void write_ptes(struct mmu_update *update, unsigned int nr)
{
    for ( ; nr; nr--, update++ )
        *(unsigned long *)(VIRT_BASE + update->ptr) = update->val;
}

static void make_table(const void *table)
{
}

static void flush_tlb(void)
{
    unsigned long cr3;

    asm volatile ( "mov %%cr3, %0; mov %0, %%cr3" : "=r" (cr3) :: "memory" );
}

static const void *image_l3(void)
{
    return pvh_l3;
}

/* Does nothing: Xen frees a PVH guest's page even if the guest still maps it. */
static void leave_mapped(unsigned long first, unsigned long end, unsigned long step)
{
}

static void are_mapped(unsigned long first, unsigned long end)
{
}

static void initialise_vcpu(unsigned int cpu, unsigned int seen, unsigned long stack_end)
{
    static struct vcpu_hvm_context context;
    struct vcpu_hvm_x86_64 *r = &context.cpu_regs.x86_64;

    memset(&context, 0, sizeof(context));
    context.mode = VCPU_HVM_MODE_64B;
    asm ( "mov %%cr0, %0" : "=r" (r->cr0) );
    asm ( "mov %%cr3, %0" : "=r" (r->cr3) );
    asm ( "mov %%cr4, %0" : "=r" (r->cr4) );
    r->efer = 0x500;            /* long mode, and in it */
    r->rip = (unsigned long)pvh_start_secondary;
    r->rsp = stack_end;
    r->rdi = cpu;
    r->rsi = seen;
    r->rflags = 2;

    MUST(hyp_vcpu_op(VCPUOP_initialise, cpu, &context));
}

static struct platform pvh = {
    .type = "pvh",
    .attach = pvh_attach,
    .leave = pvh_leave,
    .write_ptes = write_ptes,
    .make_table = make_table,
    .flush_tlb = flush_tlb,
    .image_l3 = image_l3,
    .map_level = pvh_map_level,
    .map_all = pvh_map_all,
    .unmap = leave_mapped,
    .map = are_mapped,
    .initialise_vcpu = initialise_vcpu,
};

/* Without a handler, a fault would become a triple fault, which reboots the domain. */
static void handle_faults(void)
{
    unsigned long handler = (unsigned long)pvh_fault;
    unsigned int i;

    for ( i = 0; i < NR_FAULTS; i++ )
    {
        pvh_idt[i][0] = (handler & 0xffff) | CODE_SEGMENT << 16 | INTERRUPT_GATE << 32 |
                        (handler >> 16 & 0xffff) << 48;
        pvh_idt[i][1] = handler >> 32;
    }
}

void pvh_crash(void)
{
    struct sched_shutdown shutdown = { .reason = SHUTDOWN_crash };

    for ( ; ; )
        hyp_sched_op(SCHEDOP_shutdown, &shutdown);
}

/* Checks nothing: without a hypercall page the kernel could not even report an error. */
static void fill_hypercall_page(void)
{
    unsigned long page = (unsigned long)hypercall_page - VIRT_BASE;
    unsigned int leaf = XEN_CPUID_FIRST;

    while ( cpuid(leaf).ebx != XEN_SIGNATURE && leaf < XEN_CPUID_LAST )
        leaf += XEN_CPUID_STEP;

    asm volatile ( "wrmsr" :: "c" (cpuid(leaf + 2).ebx), "a" ((uint32_t)page),
                   "d" ((uint32_t)(page >> 32)) : "memory" );
}

/*
 * Firmware of an HVM guest gets no command line. So the tool gives the domain builder a file with
 * the command line as the BIOS, which the builder loads as a module.
 */
static bool is_firmware(const struct hvm_start_info *si)
{
    return !si->cmdline_paddr && si->nr_modules;
}

static const char *find_command_line(const struct hvm_start_info *si)
{
    const struct hvm_modlist_entry *module = (void *)(VIRT_BASE + si->modlist_paddr);

    return (const char *)(VIRT_BASE + (is_firmware(si) ? module->paddr : si->cmdline_paddr));
}

/* The builder's pages end behind the image and everything that hvm_start_info points to. */
static void find_image_end(const struct hvm_start_info *si)
{
    const char *command_line = find_command_line(si);
    unsigned long end = (unsigned long)image_end;

    end = max(end, (unsigned long)(si + 1));
    end = max(end, (unsigned long)(command_line + strlen(command_line) + 1));
    end = max(end, VIRT_BASE + si->memmap_paddr +
                   si->memmap_entries * sizeof(struct hvm_memmap_table_entry));

    memory.image_end = DIV_ROUND_UP(end - VIRT_BASE, PAGE_SIZE);
}

/* Lays out the memory below the first entry of an HVM guest's memory map. */
static bool find_low_memory(void)
{
    memory.p2m_start = HVM_INFO_PFN;
    memory.p2m_end = HVM_INFO_PFN + 1;
    memory.vga_start = VGA_START;
    memory.vga_end = VGA_END;
    memory.end = LOW_END;

    return memory.image_end <= HVM_INFO_PFN;
}

/* Finds the memory from 0 on, and from 4 GiB on if there is some. */
static bool find_memory(const struct hvm_start_info *si)
{
    const struct hvm_memmap_table_entry *entry = (void *)(VIRT_BASE + si->memmap_paddr);
    unsigned int i;

    for ( i = 0; i < si->memmap_entries; i++, entry++ )
    {
        unsigned long first = entry->addr >> PAGE_SHIFT;

        if ( entry->type != XEN_HVM_MEMMAP_TYPE_RAM )
            continue;
        if ( first > memory.end )
        {
            if ( memory.hole_end )
                return false;
            memory.hole_start = memory.end;
            memory.hole_end = first;
        }
        else if ( first < memory.end )
            return false;
        memory.end = first + (entry->size >> PAGE_SHIFT);
    }
    memory.pages = memory.end - (memory.hole_end - memory.hole_start) -
                   (memory.vga_end - memory.vga_start);

    return memory.end;
}

void pvh_main(unsigned long start_info)
{
    const struct hvm_start_info *si = (void *)(VIRT_BASE + start_info);

    platform = &pvh;
    handle_faults();
    fill_hypercall_page();
    find_image_end(si);
    if ( is_firmware(si) )
    {
        pvh.type = "hvm";
        if ( !find_low_memory() )
            pvh_crash();
    }
    if ( !find_memory(si) )
        pvh_crash();

    kernel_main(find_command_line(si));
}
