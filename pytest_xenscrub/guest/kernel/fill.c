/* SPDX-License-Identifier: MIT */
/* Writes the pattern to all data pages, or a sample of them, and checks that it is still there. */

#include "console.h"
#include "directmap.h"
#include "pattern.h"
#include "report.h"
#include "residue.h"
#include "work.h"

static unsigned long nr_filled, nr_left, nr_verified, nr_mismatched;
static unsigned long owner;
static bool moved;

static struct pattern pattern_of(unsigned long pfn)
{
    return (struct pattern){
        .owner = owner,
        .pfn = pattern_frame(KIND_PFN, pfn, owner),
        .mfn = pattern_frame(KIND_MFN, p2m ? p2m[pfn] : NO_FRAME, owner),
    };
}

/*
 * Stores eight words at a time, as a good memset does, with the position in each word. The
 * pattern repeats every four words, except for the position.
 */
#define FILL_LOOP(store)                                \
    for ( end = word + WORDS_PER_PAGE; word < end; )    \
    {                                                   \
        store(0, p.owner);                              \
        store(1, p.pfn + 1);                            \
        store(2, p.owner + 2);                          \
        store(3, p.mfn + 3);                            \
        store(4, p.owner + 4);                          \
        store(5, p.pfn + 5);                            \
        store(6, p.owner + 6);                          \
        store(7, p.mfn + 7);                            \
        p.owner += 8;                                   \
        p.pfn += 8;                                     \
        p.mfn += 8;                                     \
        STEP_ ## store;                                 \
    }

#define PLAIN(i, v)     (word[i] = (v))
#define STEP_PLAIN      word += 8
#define MOVNTI(i, v)    asm volatile ( "movnti %1, %0" : "=m" (word[i]) : "r" (v) )
#define STEP_MOVNTI     word += 8
#define STOSQ(i, v)     asm volatile ( "stosq" : "+D" (word) : "a" (v) : "memory" )
#define STEP_STOSQ      ((void)0)       /* the instruction does it */

static void fill_page(unsigned long *word, struct pattern p)
{
    const unsigned long *end;

    switch ( options.fill )
    {
    case FILL_UNROLLED:
        FILL_LOOP(PLAIN);
        break;

    case FILL_STOSQ:
        FILL_LOOP(STOSQ);
        break;

    case FILL_MOVNTI:
        FILL_LOOP(MOVNTI);
        asm volatile ( "sfence" ::: "memory" );
        break;
    }
}

static void fill_unit(unsigned int cpu, unsigned long first, unsigned long end)
{
    unsigned long pfn, filled = 0, left = 0;

    for ( pfn = first; pfn < end; pfn++ )
    {
        if ( !is_data(pfn) )
            continue;
        if ( !is_sampled(&options.sample, pfn) )
        {
            left++;
            continue;
        }
        fill_page(direct_map(pfn), pattern_of(pfn));
        filled++;
    }

    add_to(&nr_filled, filled);
    add_to(&nr_left, left);
}

/* All pages, in order; or only those that are never filled: this kernel's and the builder's. */
static void report_pages(const char *kind, bool data_too)
{
    struct frame_list list;
    unsigned long pfn;

    frames_begin(&list, kind, data_too);
    for ( pfn = 0; pfn < memory.end; pfn++ )
        if ( is_owned(pfn) && (data_too || !is_data(pfn)) )
            frames_add(&list, pfn, frame(pfn));
    frames_end(&list);
}

void report_frames(void)
{
    /* First, because the tool subtracts these from the pages that the seed chooses. */
    if ( !samples_all(&options.sample) )
        report_pages("own", false);
    report_pages("frames", true);
}

void fill(void)
{
    unsigned long ns;

    owner = pattern_owner(options.run, options.guest);
    moved = false;
    nr_filled = nr_left = 0;
    ns = work_run(fill_unit, memory.end, work_unit(), "fill");

    line_begin("filled");
    line_dec("pages", nr_filled);
    line_dec("own", pages_owned() - nr_filled - nr_left);
    line_dec("ns", ns);
    line_dec("vcpus", nr_cpus);
    if ( !samples_all(&options.sample) )
    {
        line_dec("left", nr_left);
        line_hex("seed", options.sample.seed);
        line_hex("single", options.sample.single);
        line_hex("dense", options.sample.dense);
    }
    line_end();

    report_frames();
    console_kick();
}

void frames_moved(void)
{
    moved = true;
}

/* After a move the pattern may name any frame: the same one in all words, with a valid check. */
static void allow_frame_of(struct pattern *p, const unsigned long *page)
{
    if ( KIND(page[3]) == KIND_MFN )
        p->mfn = pattern_frame(KIND_MFN, frame_of(page[3]), owner);
}

static bool holds(const unsigned long *page, const struct pattern *p)
{
    unsigned long a = 0;
    unsigned int i;

    for ( i = 0; i < WORDS_PER_PAGE; i += 4 )
        a |= (page[i] ^ (p->owner + i)) | (page[i + 1] ^ (p->pfn + i + 1)) |
             (page[i + 2] ^ (p->owner + i + 2)) | (page[i + 3] ^ (p->mfn + i + 3));

    return !a;
}

static void verify_unit(unsigned int cpu, unsigned long first, unsigned long end)
{
    unsigned long pfn, verified = 0, mismatched = 0;

    for ( pfn = first; pfn < end; pfn++ )
    {
        struct pattern p;

        if ( !is_data(pfn) || !is_sampled(&options.sample, pfn) )
            continue;
        p = pattern_of(pfn);
        if ( moved )
            allow_frame_of(&p, direct_map(pfn));
        verified++;
        if ( !holds(direct_map(pfn), &p) )
        {
            mismatched++;
            residue_examine(pfn, direct_map(pfn), &p);
        }
    }

    add_to(&nr_verified, verified);
    add_to(&nr_mismatched, mismatched);
}

void verify(void)
{
    owner = pattern_owner(options.run, options.guest);
    nr_verified = nr_mismatched = 0;
    work_run(verify_unit, memory.end, work_unit(), NULL);

    line_begin("verified");
    line_dec("pages", nr_verified);
    line_dec("mismatched", nr_mismatched);
    line_end();
}
