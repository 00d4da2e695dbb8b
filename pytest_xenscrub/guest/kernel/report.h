/* SPDX-License-Identifier: MIT */
/*
 * The protocol in which the guest reports to the tool. A line is
 *
 *     $<seq> <verb> <key>=<value> ...*<crc>\r\n
 *
 * seq counts lines from 0, in decimal; crc is zlib's CRC-32 of the text between `$` and `*`, in
 * 8 hex digits. Numbers are decimal, except those of line_hex(): hex without 0x.
 *
 * A frame is a machine frame (MFN) if `hello` says type=pv. Other types of guest do not know
 * machine frames: a frame is then the guest's own frame number (GFN).
 */

#ifndef REPORT_H
#define REPORT_H

#include "lib.h"

#define PROTOCOL_VERSION 3

/* Only one vCPU at a time can write a line: line_begin() takes a lock, line_end() releases it. */
void line_begin(const char *verb);
void line_dec(const char *key, unsigned long value);
void line_hex(const char *key, unsigned long value);
void line_word(const char *key, const char *value);
void line_quoted(const char *key, const char *value);
void line_bytes(const char *key, const void *bytes, unsigned int nr);
void line_end(void);

/* An `error` line with a text, and one detail if not NULL. */
void report_error(const char *what, const char *detail);

/*
 * Frames in pfn order, as runs:  s:l  is l frames from s on,  s:l:d:c  is c such runs, each
 * starting d (it may be negative) after the one before. All four are hex.
 */
struct run {
    unsigned long mfn, len;
};

struct frame_list {
    const char *kind;
    unsigned long pages;        /* so far */
    unsigned long next_pfn;
    struct run run;             /* still growing */
    struct run group;           /* the first of `count` runs, `step` apart */
    unsigned long step, count;
    unsigned long pfn;          /* of the first page of the group */
    bool in_line;
    bool ordered;               /* say where a gap between pfns is */
};

void frames_begin(struct frame_list *list, const char *kind, bool ordered);
void frames_add(struct frame_list *list, unsigned long pfn, unsigned long mfn);
void frames_end(struct frame_list *list);

#endif
