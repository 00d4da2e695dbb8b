/* SPDX-License-Identifier: MIT */

#include "judge.h"
#include "platform.h"
#include "reserve.h"
#include "window.h"

#define BITS_PER_PAGE (PAGE_SIZE * 8)

struct reserved reserved;
struct verdicts early_verdicts;
struct tally early_tally;

void reserve_layout(unsigned int nr_cpus)
{
    struct reserved *r = &reserved;
    unsigned long lowest, rest;

    /* Large pages of the direct map need no tables of the lower levels. */
    rest = DIV_ROUND_UP(memory.end, ENTRIES);
    r->nr_l1 = platform->map_level() == 1 ? rest : 0;
    rest = DIV_ROUND_UP(rest, ENTRIES);
    r->nr_l2 = platform->map_level() <= 2 ? rest : 0;
    r->nr_l3 = DIV_ROUND_UP(rest, ENTRIES);
    r->nr_bitmap = DIV_ROUND_UP(memory.end, BITS_PER_PAGE);
    r->nr_stacks = (nr_cpus - 1) * STACK_PAGES;

    /* The early bitmaps also have bits for their own pages, and begin at a whole word. */
    rest = r->nr_stacks + 2 * r->nr_bitmap + r->nr_l3 + r->nr_l2 + r->nr_l1;
    r->nr_early = DIV_ROUND_UP(rest + KEPT_PAGES + BITS_PER_WORD, BITS_PER_PAGE);

    /* The reserved area must be contiguous, above all holes. */
    lowest = max(max(memory.image_end, memory.p2m_end), max(memory.vga_end, memory.hole_end));
    if ( memory.end < lowest + rest + 2 * r->nr_early + 1 )
        fail("not enough memory");

    r->l1 = memory.end - r->nr_l1;
    r->l2 = r->l1 - r->nr_l2;
    r->l3 = r->l2 - r->nr_l3;
    r->bitmaps = r->l3 - 2 * r->nr_bitmap;
    r->stacks = r->bitmaps - r->nr_stacks;
    r->early = r->stacks - 2 * r->nr_early;

    memory.reserved = memory.data_end = r->early;
}

/* Verdicts on the early bitmaps' own pages are on the stack until there is a bitmap for them. */
void reserve_early(void)
{
    unsigned long *bitmap = NULL, i, nr = 2 * reserved.nr_early;
    unsigned char verdict[KEPT_PAGES];  /* enum verdict; the stack is small */

    if ( nr > KEPT_PAGES )
        fail("too much memory");

    for ( i = 0; i < nr; i++ )
    {
        void *page = keep_mapped(reserved.early + i);

        bitmap = bitmap ?: page;
        verdict[i] = judge_page(&early_tally, reserved.early + i, page);
        memset(page, 0, PAGE_SIZE);
    }

    early_verdicts.base = memory.reserved & -(unsigned long)BITS_PER_WORD;
    early_verdicts.clean_or_pattern = bitmap;
    early_verdicts.residue = bitmap + reserved.nr_early * WORDS_PER_PAGE;

    for ( i = 0; i < nr; i++ )
        verdict_set(&early_verdicts, reserved.early + i, verdict[i]);
}

void reserve_judge(unsigned long pfn, const void *page)
{
    verdict_set(&early_verdicts, pfn, judge_page(&early_tally, pfn, page));
}

unsigned long reserve_stack_pfn(unsigned int cpu)
{
    return reserved.stacks + (cpu - 1) * STACK_PAGES;
}

void *reserve_stack(unsigned int cpu)
{
    unsigned long pfn = reserve_stack_pfn(cpu);
    void *stack = NULL;
    unsigned int i;

    for ( i = 0; i < STACK_PAGES; i++, pfn++ )
    {
        void *page = keep_mapped(pfn);

        stack = stack ?: page;
        reserve_judge(pfn, page);
        memset(page, 0, PAGE_SIZE);
    }

    return stack;
}

void reserve_claim(void)
{
    unsigned long pfn, nr, i;

    for ( pfn = reserved.bitmaps; pfn < reserved.l1; pfn += nr )
    {
        char *page;

        nr = min(reserved.l1 - pfn, WINDOW_SLOTS);
        page = window_map(0, pfn, nr);
        for ( i = 0; i < nr; i++, page += PAGE_SIZE )
        {
            reserve_judge(pfn + i, page);
            memset(page, 0, PAGE_SIZE);
        }
        window_unmap(0, nr);
    }
}
