/* SPDX-License-Identifier: MIT */

#include "kernel.h"
#include "window.h"

void overdraw(unsigned long pages)
{
    unsigned long pfn;

    /* Not zeroes: Xen would reclaim a page full of zeroes to populate the next one. */
    for ( pfn = memory.end; pfn < memory.end + pages; pfn++ )
    {
        memset(window_map(0, pfn, 1), 0xff, PAGE_SIZE);
        window_unmap(0, 1);
    }
}

void roam(unsigned long pages)
{
    unsigned long pfn;

    for ( ; ; )
        for ( pfn = memory.end; pfn < memory.end + pages; pfn++ )
        {
            *(volatile const char *)window_map(0, pfn, 1);
            window_unmap(0, 1);
        }
}
