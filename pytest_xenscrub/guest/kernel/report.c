/* SPDX-License-Identifier: MIT */

#include "clock.h"
#include "console.h"
#include "report.h"

#define LINE_MAX    1000
/* A group of runs, the checksum and the end of the line take less than this. */
#define LINE_RESERVE 100

static char line[LINE_MAX];
static unsigned int line_len;
static unsigned long line_seq;
static char line_lock;

static uint32_t crc32(const char *text, unsigned int len)
{
    static uint32_t table[256];
    uint32_t crc = ~0u;

    if ( !table[1] )
    {
        unsigned int i, bit;

        for ( i = 0; i < ARRAY_SIZE(table); i++ )
        {
            uint32_t c = i;

            for ( bit = 0; bit < 8; bit++ )
                c = (c >> 1) ^ (c & 1 ? 0xedb88320 : 0);
            table[i] = c;
        }
    }

    while ( len-- )
        crc = (crc >> 8) ^ table[(crc ^ *text++) & 0xff];

    return ~crc;
}

static void put_char(char c)
{
    /* The rest is for the checksum; a line cut here is still a valid one. */
    if ( line_len < LINE_MAX - 16 )
        line[line_len++] = c;
}

static void put_string(const char *s)
{
    while ( *s )
        put_char(*s++);
}

static void put_number(unsigned long value, unsigned int base, unsigned int width)
{
    char digits[24];
    unsigned int nr = 0;

    do {
        digits[nr++] = "0123456789abcdef"[value % base];
        value /= base;
    } while ( value || nr < width );

    while ( nr )
        put_char(digits[--nr]);
}

static void put_key(const char *key)
{
    put_char(' ');
    put_string(key);
    put_char('=');
}

void line_begin(const char *verb)
{
    while ( __atomic_test_and_set(&line_lock, __ATOMIC_ACQUIRE) )
        yield();

    line_len = 0;
    put_char('$');
    put_number(line_seq++, 10, 0);
    put_char(' ');
    put_string(verb);
}

void line_dec(const char *key, unsigned long value)
{
    put_key(key);
    put_number(value, 10, 0);
}

void line_hex(const char *key, unsigned long value)
{
    put_key(key);
    put_number(value, 16, 0);
}

void line_word(const char *key, const char *value)
{
    put_key(key);
    put_string(value);
}

void line_quoted(const char *key, const char *value)
{
    put_key(key);
    put_char('"');
    for ( ; *value; value++ )
        put_char(*value < ' ' || *value > '~' || *value == '"' ? '?' : *value);
    put_char('"');
}

void line_bytes(const char *key, const void *bytes, unsigned int nr)
{
    const unsigned char *byte = bytes;

    put_key(key);
    while ( nr-- )
        put_number(*byte++, 16, 2);
}

void line_end(void)
{
    uint32_t crc = crc32(line + 1, line_len - 1);
    unsigned int i;

    line[line_len++] = '*';
    for ( i = 0; i < 8; i++, crc <<= 4 )
        line[line_len++] = "0123456789abcdef"[crc >> 28];
    line[line_len++] = '\r';
    line[line_len++] = '\n';

    console_write(line, line_len);
    __atomic_clear(&line_lock, __ATOMIC_RELEASE);
}

void report_error(const char *what, const char *detail)
{
    line_begin("error");
    line_quoted("what", what);
    if ( detail )
        line_quoted("detail", detail);
    line_end();
    console_kick();
}

void frames_begin(struct frame_list *list, const char *kind, bool ordered)
{
    *list = (struct frame_list){ .kind = kind, .ordered = ordered };
}

static void put_group(struct frame_list *list)
{
    if ( !list->count )
        return;

    if ( list->in_line && line_len > LINE_MAX - LINE_RESERVE )
    {
        line_end();
        list->in_line = false;
    }

    if ( list->in_line )
        put_char(',');
    else
    {
        line_begin("range");
        line_word("kind", list->kind);
        line_dec("at", list->pfn);
        put_key("runs");
        list->in_line = true;
    }

    put_number(list->group.mfn, 16, 0);
    put_char(':');
    put_number(list->group.len, 16, 0);
    if ( list->count > 1 )
    {
        bool negative = (long)list->step < 0;

        put_string(negative ? ":-" : ":");
        put_number(negative ? -list->step : list->step, 16, 0);
        put_char(':');
        put_number(list->count, 16, 0);
    }

    list->count = 0;
}

/* Ends the run that was growing: adds it to the group if it fits, or begins the next group. */
static void end_run(struct frame_list *list)
{
    const struct run *run = &list->run;
    unsigned long distance = run->mfn - list->group.mfn;

    if ( !run->len )
        return;

    if ( list->count == 1 && run->len == list->group.len )
        list->step = distance;

    if ( list->count && run->len == list->group.len &&
         distance == list->step * list->count )
        list->count++;
    else
    {
        put_group(list);
        list->group = *run;
        list->count = 1;
        list->pfn = list->next_pfn - run->len;
    }

    list->run.len = 0;
}

void frames_add(struct frame_list *list, unsigned long pfn, unsigned long mfn)
{
    bool gap = pfn != list->next_pfn;

    if ( list->run.len && !gap && mfn == list->run.mfn + list->run.len )
        list->run.len++;
    else
    {
        end_run(list);
        if ( gap )
        {
            put_group(list);
            if ( list->ordered && list->in_line )
            {
                line_end();
                list->in_line = false;
            }
        }
        list->run = (struct run){ .mfn = mfn, .len = 1 };
    }

    list->next_pfn = pfn + 1;
    list->pages++;
}

void frames_end(struct frame_list *list)
{
    end_run(list);
    put_group(list);
    if ( list->in_line )
        line_end();

    line_begin("ranges-end");
    line_word("kind", list->kind);
    line_dec("pages", list->pages);
    line_end();
}
