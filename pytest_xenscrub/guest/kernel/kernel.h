/* SPDX-License-Identifier: MIT */
/* What all files of the kernel share: options, the layout of memory, actions, fatal errors. */

#ifndef KERNEL_H
#define KERNEL_H

#include "lib.h"
#include "sample.h"

/* Reports on the console which call failed, and crashes the domain. */
void __attribute__((__noreturn__)) fail(const char *what);

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define MUST(call) \
    ({ if ( (call) != 0 ) fail(__FILE__ ":" STRINGIFY(__LINE__) ": " #call); })

/* Upper bound; further vCPUs are not started. */
#define MAX_VCPUS 128

/* The command line. */
enum fill_loop { FILL_UNROLLED, FILL_STOSQ, FILL_MOVNTI };
enum scan_loop { SCAN_OR8, SCAN_WORD };

struct options {
    unsigned long run, guest;   /* this guest's numbers in the pattern */
    unsigned long clean;        /* the byte of a scrubbed page */
    unsigned long show;         /* upper bound on dirty pages to describe, per scan */
    unsigned long vcpus;        /* upper bound on the vCPUs to use; 0: all */
    unsigned long pages;        /* the domain's pages if its map shows more; else 0 */
    bool reveal;                /* also print bytes that are not of this project's pattern */
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
 *   reserved .. end         this kernel's page tables, bitmaps, stacks; each scanned before its use
 *   data_end .. reserved    given back to Xen: no longer pages of the domain
 *   punched                 each step-th page of this range was given back, too
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

/* The machine frame of each page; NULL on PVH and HVM, where only Xen knows it. */
extern unsigned long *p2m;

/* The number of a page's frame as the domain knows it: a machine frame (MFN) on PV, else a GFN. */
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

/* Pages above the image that the builder wrote to, or that are not memory. */
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

/* The first page that can be given back: from it to data_end all pages are data. */
static inline unsigned long data_start(void)
{
    unsigned long start = max(max(memory.image_end, memory.p2m_end),
                              max(memory.vga_end, memory.punched.end));

    return memory.data_end > memory.hole_end ? max(start, memory.hole_end) : start;
}

/* Runs a comma-separated list of actions, in order. */
void actions_run(const char *list);

void report_frames(void);

/* Fill all data pages, or a sample of them, or compare them with the pattern. */
void fill(void);
void verify(void);

/* To be called after a suspend: the pages are now in other frames than when they were filled. */
void frames_moved(void);

/* Gives data pages back to Xen, as a balloon driver does. */
void balloon(unsigned long pages);

/*
 * Gives back every data page with pfn % step == at, which makes holes in the extents that the
 * builder allocated. A guest can do this once.
 */
void punch(unsigned long step, unsigned long at);

/* Takes pages back that were given back, one by one; fewer if Xen has no more. */
void populate(unsigned long pages);

/*
 * Uses pages behind the domain's own: the memory map shows them, but Xen cannot populate them on
 * demand, because the domain has no memory left.
 */
void overdraw(unsigned long pages);

/*
 * Reads that many of these pages, over and over, and does not return. Xen populates each one with
 * a page full of zeroes, which it reclaims from a page that was read before.
 */
void __attribute__((__noreturn__)) roam(unsigned long pages);

/* The ends of the domain. */
void __attribute__((__noreturn__)) die(unsigned int reason, const char *name);
void __attribute__((__noreturn__)) crash(void);

#endif
