/* SPDX-License-Identifier: MIT */
/*
 * The direct map in pages of 1 GiB, or of 2 MiB if the CPU has no larger ones. It also covers
 * holes without memory, which the kernel never reads.
 */

#include "pvh/pvh.h"
#include "reserve.h"
#include "window.h"

#define PTE_LARGE       0x80ul

#define CPUID_FEATURES  0x80000001
#define HAS_1GIB_PAGES  (1u << 26)      /* of %edx */

unsigned int pvh_map_level(void)
{
    return cpuid(CPUID_FEATURES).edx & HAS_1GIB_PAGES ? 3 : 2;
}

/* Fills the tables from pfn `first` on; entry i, counted over all tables, is from + i * step. */
static void write_tables(unsigned long first, unsigned long nr_entries, unsigned long from,
                         unsigned long step)
{
    unsigned long i, j;

    for ( i = 0; i < nr_entries; i += j, first++ )
    {
        unsigned long *table = window_map(0, first, 1);

        for ( j = 0; j < ENTRIES && i + j < nr_entries; j++, from += step )
            table[j] = from;
        window_unmap(0, 1);
    }
}

void pvh_map_all(void)
{
    unsigned long nr_2mib = DIV_ROUND_UP(memory.end, ENTRIES);
    unsigned long nr_1gib = DIV_ROUND_UP(nr_2mib, ENTRIES);
    unsigned long i;

    if ( reserved.nr_l2 )
    {
        write_tables(reserved.l2, nr_2mib, PTE_RW | PTE_LARGE, ENTRIES << PAGE_SHIFT);
        write_tables(reserved.l3, nr_1gib, reserved.l2 << PAGE_SHIFT | PTE_TABLE, PAGE_SIZE);
    }
    else
        write_tables(reserved.l3, nr_1gib, PTE_RW | PTE_LARGE,
                     ENTRIES * ENTRIES << PAGE_SHIFT);

    for ( i = 0; i < reserved.nr_l3; i++ )
        pvh_l4[L4_INDEX(DIRECT_MAP) + i] = (reserved.l3 + i) << PAGE_SHIFT | PTE_TABLE;
}
