/* SPDX-License-Identifier: MIT */

#include "kernel.h"
#include "report.h"
#include "window.h"

void overdraw(unsigned long pages)
{
    unsigned long pfn;

    if ( !options.pages )
    {
        report_error("overdraw: the memory map shows no more than there is", NULL);
        return;
    }

    /* A page full of zeroes would be taken from us again, for the next one. */
    for ( pfn = memory.end; pfn < memory.end + pages; pfn++ )
    {
        memset(window_map(0, pfn, 1), 0xff, PAGE_SIZE);
        window_unmap(0, 1);
    }
}
