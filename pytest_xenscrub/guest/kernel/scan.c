/* SPDX-License-Identifier: MIT */

#include "console.h"
#include "directmap.h"
#include "judge.h"
#include "report.h"
#include "reserve.h"
#include "residue.h"
#include "scan.h"
#include "work.h"

static struct verdicts verdicts;
static struct tally tally;

/* Writes whole words of the bitmaps: a unit is whole words, so no other vCPU writes to them. */
static void scan_unit(unsigned int cpu, unsigned long first, unsigned long end)
{
    struct tally mine = { };
    unsigned long pfn = first;

    while ( pfn < end )
    {
        unsigned long clean = 0, residue = 0, pattern = 0;
        unsigned long i = pfn / BITS_PER_WORD, bit = 1;

        for ( ; bit && pfn < end; bit <<= 1, pfn++ )
        {
            if ( !is_data(pfn) )
                continue;
#ifdef PLANTED_BLINDNESS
            /* For tests of the tool: a wrong probe, which calls pages clean without reading. */
            if ( pfn % PLANTED_BLINDNESS == 0 )
            {
                clean |= bit;
                mine.clean++;
                continue;
            }
#endif
            if ( is_clean(direct_map(pfn)) )
            {
                clean |= bit;
                mine.clean++;
            }
            else
            {
                residue |= bit;
                if ( residue_examine(pfn, direct_map(pfn), NULL) )
                {
                    pattern |= bit;
                    mine.pattern++;
                }
                else
                    mine.other++;
            }
        }

        verdicts.clean_or_pattern[i] = clean | pattern;
        verdicts.residue[i] = residue;
    }

    add_to(&tally.clean, mine.clean);
    add_to(&tally.pattern, mine.pattern);
    add_to(&tally.other, mine.other);
}

/* Pages of the reserved area were judged before this kernel wrote to them. */
static void add_early_verdicts(void)
{
    unsigned long pfn;

    for ( pfn = memory.reserved; pfn < memory.end; pfn++ )
    {
        unsigned long bit = pfn - early_verdicts.base, i = bit / BITS_PER_WORD;

        if ( bit_is_set(clean_in(&early_verdicts, i), bit) )
            verdict_set(&verdicts, pfn, VERDICT_CLEAN);
        else if ( bit_is_set(pattern_in(&early_verdicts, i), bit) )
            verdict_set(&verdicts, pfn, VERDICT_PATTERN);
        else if ( bit_is_set(residue_in(&early_verdicts, i), bit) )
            verdict_set(&verdicts, pfn, VERDICT_OTHER);
    }

    tally.clean += early_tally.clean;
    tally.pattern += early_tally.pattern;
    tally.other += early_tally.other;
}

/* The pages of word `i` of the bitmaps that have a certain verdict. */
typedef unsigned long pages_fn(const struct verdicts *v, unsigned long i);

static void report_verdict(const char *kind, pages_fn *pages_in)
{
    struct frame_list list;
    unsigned long pfn;

    frames_begin(&list, kind, false);
    for ( pfn = 0; pfn < memory.end; pfn++ )
    {
        unsigned long pages = pages_in(&verdicts, pfn / BITS_PER_WORD);

        if ( !pages )
            pfn |= BITS_PER_WORD - 1;
        else if ( bit_is_set(pages, pfn) )
            frames_add(&list, pfn, frame(pfn));
    }
    frames_end(&list);
}

/* Lists the pages that were in fact not read, not those that should not be: see verdict.h. */
static void report_unjudged(void)
{
    struct frame_list list;
    unsigned long pfn;

    frames_begin(&list, "unjudged", false);
    for ( pfn = 0; pfn < memory.end; pfn++ )
    {
        unsigned long i = pfn / BITS_PER_WORD;
        unsigned long judged = verdicts.clean_or_pattern[i] | verdicts.residue[i];

        if ( !~judged )
            pfn |= BITS_PER_WORD - 1;
        else if ( !bit_is_set(judged, pfn) && is_owned(pfn) )
            frames_add(&list, pfn, frame(pfn));
    }
    frames_end(&list);
}

/* Lists the pages that this kernel has written to after it had judged them. */
static void report_used(void)
{
    struct frame_list list;
    unsigned long pfn;

    frames_begin(&list, "used", false);
    for ( pfn = memory.reserved; pfn < memory.end; pfn++ )
        frames_add(&list, pfn, frame(pfn));
    frames_end(&list);
}

void scan(void)
{
    unsigned long ns;

    verdicts.clean_or_pattern = direct_map(reserved.bitmaps);
    verdicts.residue = direct_map(reserved.bitmaps + reserved.nr_bitmap);
    tally = (struct tally){ };

    ns = work_run(scan_unit, memory.end, work_unit(), "scan");
    add_early_verdicts();

    line_begin("scanned");
    line_dec("pages", pages_owned());
    line_dec("clean", tally.clean);
    line_dec("residue", tally.pattern + tally.other);
    /* By arithmetic, not counted: so the sum does not come out if a page was missed. */
    line_dec("unjudged", memory.image_end + memory.p2m_end - memory.p2m_start);
    line_dec("pattern", tally.pattern);
    line_dec("other", tally.other);
    line_dec("ns", ns);
    line_dec("vcpus", nr_cpus);
    line_end();

    report_verdict("clean", clean_in);
    report_verdict("residue", residue_in);
    if ( tally.pattern )
        report_verdict("pattern", pattern_in);
    report_unjudged();
    report_used();
    console_kick();
}
