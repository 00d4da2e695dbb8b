/* SPDX-License-Identifier: MIT */

#include "platform.h"
#include "window.h"

#define L3_INDEX(va)    (((va) >> 30) & (ENTRIES - 1))

#define WINDOW_TABLES   (MAX_VCPUS * WINDOW_SLOTS / ENTRIES)

static unsigned long window_l1[WINDOW_TABLES][ENTRIES] __page_aligned;
static unsigned long kept_l1[ENTRIES] __page_aligned;
static unsigned long window_l2[ENTRIES] __page_aligned;
static unsigned int nr_kept;

void pte_flush(struct pte_batch *batch)
{
    if ( batch->nr )
        platform->write_ptes(batch->update, batch->nr);
    batch->nr = 0;
}

void pte_set(struct pte_batch *batch, unsigned long table_mfn, unsigned long index,
             unsigned long pte)
{
    struct mmu_update *update = &batch->update[batch->nr];

    update->ptr = (table_mfn << PAGE_SHIFT) + index * sizeof(pte);
    update->val = pte;
    if ( ++batch->nr == ARRAY_SIZE(batch->update) )
        pte_flush(batch);
}

static unsigned long make_table(const void *table)
{
    platform->make_table(table);

    return image_frame(table) << PAGE_SHIFT | PTE_TABLE;
}

/* Puts an L2 for windows into the last slot of the L3 that maps the image. */
void windows_init(void)
{
    struct pte_batch batch = { };
    unsigned int i;

    for ( i = 0; i < WINDOW_TABLES; i++ )
        window_l2[i] = make_table(window_l1[i]);
    window_l2[i] = make_table(kept_l1);

    pte_set(&batch, image_frame(platform->image_l3()), L3_INDEX(WINDOW_BASE),
            make_table(window_l2));
    pte_flush(&batch);
}

static void window_set(unsigned int cpu, unsigned long pfn, unsigned int nr,
                       unsigned long flags)
{
    unsigned long slot = cpu * WINDOW_SLOTS;
    unsigned long table = image_frame(window_l1[slot / ENTRIES]);
    struct pte_batch batch = { };
    unsigned int i;

    for ( i = 0; i < nr; i++ )
        pte_set(&batch, table, slot % ENTRIES + i,
                flags ? frame(pfn + i) << PAGE_SHIFT | flags : 0);
    pte_flush(&batch);
}

void *window_map(unsigned int cpu, unsigned long pfn, unsigned int nr)
{
    window_set(cpu, pfn, nr, PTE_RW);

    return (void *)(WINDOW_BASE + cpu * WINDOW_SLOTS * PAGE_SIZE);
}

void window_unmap(unsigned int cpu, unsigned int nr)
{
    window_set(cpu, 0, nr, 0);
    platform->flush_tlb();
}

void *keep_mapped(unsigned long pfn)
{
    struct pte_batch batch = { };

    if ( nr_kept == KEPT_PAGES )
        fail("too many pages to keep mapped");

    pte_set(&batch, image_frame(kept_l1), nr_kept, frame(pfn) << PAGE_SHIFT | PTE_RW);
    pte_flush(&batch);

    return (void *)(WINDOW_BASE + (WINDOW_TABLES * ENTRIES + nr_kept++) * PAGE_SIZE);
}
