/* SPDX-License-Identifier: MIT */

#include "judge.h"
#include "residue.h"

/*
 * Combines eight words at a time in two registers. That is the fastest way to read memory in C
 * without vector instructions; under emulation vector instructions are slower.
 */
static bool is_zero_or8(const unsigned long *word)
{
    const unsigned long *end = word + WORDS_PER_PAGE;
    unsigned long a = 0, b = 0;

    for ( ; word < end; word += 8 )
    {
        a |= word[0] | word[1] | word[2] | word[3];
        b |= word[4] | word[5] | word[6] | word[7];
        /* Keeps gcc from reading half a page before it combines any words. */
        asm volatile ( "" : "+r" (a), "+r" (b) );
    }

    return !(a | b);
}

static bool is_filled_with_or8(const unsigned long *word, unsigned long v)
{
    const unsigned long *end = word + WORDS_PER_PAGE;
    unsigned long a = 0, b = 0;

    for ( ; word < end; word += 8 )
    {
        a |= (word[0] ^ v) | (word[1] ^ v) | (word[2] ^ v) | (word[3] ^ v);
        b |= (word[4] ^ v) | (word[5] ^ v) | (word[6] ^ v) | (word[7] ^ v);
        asm volatile ( "" : "+r" (a), "+r" (b) );
    }

    return !(a | b);
}

static bool is_filled_with_word(const unsigned long *word, unsigned long v)
{
    unsigned int i;

    for ( i = 0; i < WORDS_PER_PAGE; i++ )
        if ( word[i] != v )
            return false;

    return true;
}

bool is_clean(const void *page)
{
    unsigned long clean = clean_word();

    /* The first word tells most dirty pages at once; the loops below would read the whole page. */
    if ( *(const unsigned long *)page != clean )
        return false;

    if ( options.scan == SCAN_WORD )
        return is_filled_with_word(page, clean);

    return clean ? is_filled_with_or8(page, clean) : is_zero_or8(page);
}

enum verdict judge_page(struct tally *count, unsigned long pfn, const void *page)
{
    if ( is_clean(page) )
    {
        add_to(&count->clean, 1);
        return VERDICT_CLEAN;
    }

    if ( residue_examine(pfn, page, NULL) )
    {
        add_to(&count->pattern, 1);
        return VERDICT_PATTERN;
    }

    add_to(&count->other, 1);
    return VERDICT_OTHER;
}
