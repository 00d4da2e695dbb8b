/* SPDX-License-Identifier: MIT */
/* Basic definitions: page sizes, barriers, string functions. */

#ifndef LIB_H
#define LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addresses.h"

#define PAGE_SHIFT      12
#define PAGE_SIZE       (1ul << PAGE_SHIFT)
#define WORDS_PER_PAGE  (PAGE_SIZE / sizeof(unsigned long))
#define BITS_PER_WORD   64
#define __page_aligned  __attribute__((__aligned__(4096)))

#define DIV_ROUND_UP(n, d)  (((n) + (d) - 1) / (d))
#define ARRAY_SIZE(a)       (sizeof(a) / sizeof((a)[0]))

#define barrier()           asm volatile ( "" ::: "memory" )
#define READ_ONCE(x)        (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)    (*(volatile typeof(x) *)&(x) = (v))

static inline unsigned long min(unsigned long a, unsigned long b)
{
    return a < b ? a : b;
}

static inline unsigned long max(unsigned long a, unsigned long b)
{
    return a > b ? a : b;
}

static inline void add_to(unsigned long *sum, unsigned long n)
{
    __atomic_fetch_add(sum, n, __ATOMIC_RELAXED);
}

/* gcc calls these four even in a freestanding program. */
void *memset(void *dest, int byte, size_t bytes);
void *memcpy(void *dest, const void *src, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);

/* Whether `word`, which has `len` characters and no NUL at its end, equals the string `s`. */
static inline bool word_is(const char *word, size_t len, const char *s)
{
    return len == strlen(s) && !memcmp(word, s, len);
}

/* Reads a decimal number, or a hex one after 0x, up to the first character that is not a digit. */
unsigned long parse_number(const char *s);

#endif
