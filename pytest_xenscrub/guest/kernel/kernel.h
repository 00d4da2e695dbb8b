/* SPDX-License-Identifier: MIT */
/* What the parts of the kernel share: options, whose page is whose, and how to give up. */

#ifndef KERNEL_H
#define KERNEL_H

#include "lib.h"
#include "sample.h"

/* Says which call failed on the console and crashes the domain. */
void __attribute__((__noreturn__)) fail(const char *what);

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define MUST(call) \
    ({ if ( (call) != 0 ) fail(__FILE__ ":" STRINGIFY(__LINE__) ": " #call); })

/* More are left alone. */
#define MAX_VCPUS 128

/* The command line. */
enum fill_loop { FILL_UNROLLED, FILL_STOSQ, FILL_MOVNTI };
enum scan_loop { SCAN_OR8, SCAN_WORD };

struct options {
    unsigned long run, guest;   /* who we are, in the pattern */
    unsigned long clean;        /* the byte of a scrubbed page */
    unsigned long show;         /* dirty pages to describe, per scan */
    unsigned long vcpus;        /* use no more than these; 0: all there are */
    unsigned long pages;        /* of the domain, where its map shows more; 0: all it shows */
    bool reveal;                /* show bytes that are not of our pattern */
    struct sample sample;       /* the pages that are filled */
    enum fill_loop fill;
    enum scan_loop scan;
    const char *actions;        /* comma list, ends at a blank */
};

extern struct options options;

void options_parse(const char *command_line);

/*
 * The domain's pages, by pfn:
 *
 *   0 .. image_end          the domain builder's: image, start info; on PV rings, page tables, stack
 *   p2m_start .. p2m_end    the domain builder's, above image_end: the p2m and what maps it (PV),
 *                           or a page that tells firmware of the machine (HVM)
 *   vga_start .. vga_end    no memory (HVM: where a video card has its own)
 *   hole_start .. hole_end  no memory (PVH and HVM: below 4 GiB)
 *   reserved .. end         ours: page tables, bitmaps, stacks; scanned before they became that
 *   data_end .. reserved    given back to Xen: no longer pages of the domain
 *   punched                 each step-th page there: given back, too
 *   the rest                data: filled, or a sample of it, and scanned
 */
struct memory {
    unsigned long pages;        /* at the start of day */
    unsigned long end;
    unsigned long image_end;
    unsigned long p2m_start, p2m_end;
    unsigned long vga_start, vga_end;
    unsigned long hole_start, hole_end;
    unsigned long data_end;
    unsigned long reserved;
    struct {
        unsigned long first, end, step;
    } punched;
};

extern struct memory memory;

/* The machine frame of each page; NULL where only Xen knows it. */
extern unsigned long *p2m;

/* What the domain calls the frame of a page: a machine frame (MFN) on PV, else its GFN. */
static inline unsigned long frame(unsigned long pfn)
{
    return p2m ? p2m[pfn] : pfn;
}

/* No memory at all. */
static inline bool is_hole(unsigned long pfn)
{
    return (pfn >= memory.vga_start && pfn < memory.vga_end) ||
           (pfn >= memory.hole_start && pfn < memory.hole_end);
}

/* What the builder wrote to above the image, or no memory at all. */
static inline bool is_gap(unsigned long pfn)
{
    return (pfn >= memory.p2m_start && pfn < memory.p2m_end) || is_hole(pfn);
}

static inline bool is_punched(unsigned long pfn)
{
    return pfn >= memory.punched.first && pfn < memory.punched.end &&
           !((pfn - memory.punched.first) % memory.punched.step);
}

static inline bool is_data(unsigned long pfn)
{
    return pfn >= memory.image_end && pfn < memory.data_end && !is_gap(pfn) &&
           !is_punched(pfn);
}

static inline bool is_ballooned(unsigned long pfn)
{
    return (pfn >= memory.data_end && pfn < memory.reserved) || is_punched(pfn);
}

/* Pages that the domain has now, by pfn. */
static inline bool is_owned(unsigned long pfn)
{
    return !is_ballooned(pfn) && !is_hole(pfn);
}

static inline unsigned long pages_punched(void)
{
    unsigned long pages = memory.punched.end - memory.punched.first;

    return pages ? DIV_ROUND_UP(pages, memory.punched.step) : 0;
}

static inline unsigned long pages_owned(void)
{
    return memory.pages - (memory.reserved - memory.data_end) - pages_punched();
}

/* Where data begins that can be given back: pages above it are data up to data_end. */
static inline unsigned long data_start(void)
{
    unsigned long start = max(max(memory.image_end, memory.p2m_end),
                              max(memory.vga_end, memory.punched.end));

    return memory.data_end > memory.hole_end ? max(start, memory.hole_end) : start;
}

/* Does a comma list of actions, in order. */
void actions_run(const char *list);

void report_frames(void);

/* Fills, or compares with the pattern, all data, or a sample of it. */
void fill(void);
void verify(void);

/* The pages are in other frames now than when they were filled: see a suspend. */
void frames_moved(void);

/* Gives data pages back to Xen, as a balloon driver does. */
void balloon(unsigned long pages);

/*
 * As that, but each step-th of them alone, beginning with one whose pfn leaves `at` when it is
 * divided by step: holes in the extents that the builder gave us. Once in a life.
 */
void punch(unsigned long step, unsigned long at);

/* Takes some of them back, one by one; fewer if there are no more. */
void populate(unsigned long pages);

/*
 * Uses pages behind our own, which the memory map shows and the domain does not have: Xen has
 * promised to populate them on demand, and cannot.
 */
void overdraw(unsigned long pages);

/*
 * Reads so many of them, over and over: Xen populates each with a page full of zeroes, which it
 * takes from one that was read before. Does not return.
 */
void __attribute__((__noreturn__)) roam(unsigned long pages);

/* How we end. */
void __attribute__((__noreturn__)) die(unsigned int reason, const char *name);
void __attribute__((__noreturn__)) crash(void);

#endif
