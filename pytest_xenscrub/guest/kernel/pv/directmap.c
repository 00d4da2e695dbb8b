/* SPDX-License-Identifier: MIT */
/*
 * The direct map. Linux has one too, and its teardown is part of the cost of a destroy.
 * All vCPUs claim and write the L1 tables together.
 */

#include "pv/pv.h"
#include "reserve.h"
#include "window.h"
#include "work.h"

static bool is_writable(unsigned long pfn)
{
    return pfn >= memory.image_end &&
           (pfn < memory.p2m_start || pfn >= memory.p2m_end) && !is_table(pfn);
}

/*
 * Writes L1 tables first, and then enters them into L2. That costs half as much as filling a table
 * that is in L2 already, which takes a hypercall for its changes.
 */
static void build_l1(unsigned int cpu, unsigned long first, unsigned long end)
{
    unsigned long *table = window_map(cpu, reserved.l1 + first, end - first);
    unsigned long pfn = first * ENTRIES, i, j;
    struct pte_batch batch = { };

    for ( i = first; i < end; i++, table += ENTRIES )
    {
        reserve_judge(reserved.l1 + i, table);
        for ( j = 0; j < ENTRIES; j++, pfn++ )
            table[j] = pfn >= memory.end ? 0 :
                       p2m[pfn] << PAGE_SHIFT | (is_writable(pfn) ? PTE_RW : PTE_RO);
    }
    window_unmap(cpu, end - first);

    for ( i = first; i < end; i++ )
        pte_set(&batch, p2m[reserved.l2 + i / ENTRIES], i % ENTRIES,
                p2m[reserved.l1 + i] << PAGE_SHIFT | PTE_TABLE);
    pte_flush(&batch);
}

void pv_map_all(void)
{
    const void *l4 = (const void *)pv_start_info->pt_base;
    struct pte_batch batch = { };
    unsigned long i;

    for ( i = 0; i < reserved.nr_l2; i++ )
        pte_set(&batch, p2m[reserved.l3 + i / ENTRIES], i % ENTRIES,
                p2m[reserved.l2 + i] << PAGE_SHIFT | PTE_TABLE);
    for ( i = 0; i < reserved.nr_l3; i++ )
        pte_set(&batch, image_frame(l4), L4_INDEX(DIRECT_MAP) + i,
                p2m[reserved.l3 + i] << PAGE_SHIFT | PTE_TABLE);
    pte_flush(&batch);

    work_run(build_l1, reserved.nr_l1, WINDOW_SLOTS, NULL);
}

static void set(unsigned long first, unsigned long end, unsigned long step,
                unsigned long flags)
{
    struct pte_batch batch = { };
    unsigned long pfn;

    for ( pfn = first; pfn < end; pfn += step )
        pte_set(&batch, p2m[reserved.l1 + pfn / ENTRIES], pfn % ENTRIES,
                flags ? p2m[pfn] << PAGE_SHIFT | flags : 0);
    pte_flush(&batch);
}

/* Xen frees a page only once its last reference is gone, and a mapping is a reference. */
void pv_unmap(unsigned long first, unsigned long end, unsigned long step)
{
    struct mmuext_op op = { .cmd = MMUEXT_TLB_FLUSH_ALL };

    set(first, end, step, 0);
    MUST(hyp_mmuext_op(&op));
}

void pv_map(unsigned long first, unsigned long end)
{
    set(first, end, 1, PTE_RW);
}
