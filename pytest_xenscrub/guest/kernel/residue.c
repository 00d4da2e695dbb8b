/* SPDX-License-Identifier: MIT */

#include "report.h"
#include "residue.h"

/* Bytes of a page that are shown. */
#define SHOWN_BYTES 32

/*
 * How many dirty pages may still be described, and how many of them without a pattern. Pages with
 * a pattern tell more, but what firmware or dom0 left is in the lowest frames, which come first.
 */
static long may_show, may_show_other;

struct residue {
    unsigned int first, last;           /* offsets of the first and the last wrong byte */
    unsigned int words;                 /* words with a wrong byte */
    unsigned int pattern_words;         /* those of them that are words of a pattern */
    unsigned int pattern_at;            /* index of the first pattern word */
    unsigned long owner, pfn, mfn;      /* a pattern word of each kind, or 0 */
};

void residue_show(unsigned long pages)
{
    may_show = pages;
    may_show_other = (pages + 1) / 2;
}

static unsigned long difference(const unsigned long *page, unsigned int i,
                                const struct pattern *expected)
{
    return page[i] ^ (expected ? pattern_word(expected, i) : clean_word());
}

/* Whether a word's position suits its kind, and its check suits `owner` (unless 0). */
static bool is_pattern_word(unsigned long word, unsigned long owner)
{
    unsigned int position = POSITION(word);

    switch ( KIND(word) )
    {
    case KIND_OWNER:
        return !(position & 1) && (!owner || word - position == owner);

    case KIND_PFN:
    case KIND_MFN:
        if ( (position & 3) != (KIND(word) == KIND_PFN ? 1 : 3) )
            return false;
        return !owner ||
               word - position == pattern_frame(KIND(word), frame_of(word), owner);
    }

    return false;
}

static void examine(struct residue *r, const unsigned long *page,
                    const struct pattern *expected)
{
    unsigned int i;

    *r = (struct residue){ };

    for ( i = 0; i < WORDS_PER_PAGE; i++ )
    {
        unsigned long wrong = difference(page, i, expected);

        if ( !wrong )
            continue;
        if ( !r->words++ )
            r->first = i * 8 + __builtin_ctzl(wrong) / 8;
        r->last = i * 8 + 7 - __builtin_clzl(wrong) / 8;
        if ( !r->owner && KIND(page[i]) == KIND_OWNER && is_pattern_word(page[i], 0) )
            r->owner = page[i] - POSITION(page[i]);
    }

    for ( i = r->first / 8; i <= r->last / 8; i++ )
    {
        unsigned long word = page[i];

        if ( !difference(page, i, expected) || !is_pattern_word(word, r->owner) )
            continue;
        if ( !r->pattern_words++ )
            r->pattern_at = i;
        if ( !r->pfn && KIND(word) == KIND_PFN )
            r->pfn = word;
        if ( !r->mfn && KIND(word) == KIND_MFN )
            r->mfn = word;
    }
}

/* Constant pages and whole patterns may come in millions, so both have a quick check. */
static bool is_constant(const unsigned long *page)
{
    unsigned long a = 0;
    unsigned int i;

    for ( i = 0; i < WORDS_PER_PAGE; i += 4 )
        a |= (page[i] ^ page[0]) | (page[i + 1] ^ page[0]) | (page[i + 2] ^ page[0]) |
             (page[i + 3] ^ page[0]);

    return !a;
}

static bool is_whole_pattern(const unsigned long *page)
{
    unsigned long owner = page[0], a = 0;
    unsigned int i;

    if ( KIND(owner) != KIND_OWNER || KIND(page[1]) != KIND_PFN ||
         KIND(page[3]) != KIND_MFN || POSITION(owner) ||
         !is_pattern_word(page[1], owner) || !is_pattern_word(page[3], owner) )
        return false;

    for ( i = 0; i < WORDS_PER_PAGE; i += 4 )
        a |= (page[i] ^ (owner + i)) | (page[i + 1] ^ (page[1] + i)) |
             (page[i + 2] ^ (owner + i + 2)) | (page[i + 3] ^ (page[3] + i));

    return !a;
}

static unsigned long fnv1a64(const unsigned char *byte)
{
    unsigned long hash = 0xcbf29ce484222325ul;
    unsigned int i;

    for ( i = 0; i < PAGE_SIZE; i++ )
        hash = (hash ^ byte[i]) * 0x100000001b3ul;

    return hash;
}

/* Length of the bytes to show: from the first pattern word on, without any other word. */
static unsigned int pattern_bytes(const unsigned long *page, const struct residue *r)
{
    unsigned int i = r->pattern_at;

    while ( i < WORDS_PER_PAGE && (i - r->pattern_at) * 8 < SHOWN_BYTES &&
            is_pattern_word(page[i], r->owner) )
        i++;

    return (i - r->pattern_at) * 8;
}

static void frame_or_none(const char *key, unsigned long word, bool hex)
{
    if ( !word || frame_of(word) == NO_FRAME )
        line_word(key, "-");
    else if ( hex )
        line_hex(key, frame_of(word));
    else
        line_dec(key, frame_of(word));
}

static void describe(unsigned long pfn, const unsigned long *page,
                     const struct residue *r, bool pattern)
{
    line_begin("dirty");
    line_dec("pfn", pfn);
    line_hex("mfn", frame(pfn));
    line_dec("first", r->first);
    line_dec("last", r->last);
    line_dec("words", r->words);

    if ( pattern )
    {
        line_word("class", "pattern");
        if ( r->owner )
        {
            line_hex("run", run_of(r->owner));
            line_dec("guest", guest_of(r->owner));
        }
        else
        {
            line_word("run", "-");
            line_word("guest", "-");
        }
        frame_or_none("of-pfn", r->pfn, false);
        frame_or_none("of-mfn", r->mfn, true);
        line_dec("pos", POSITION(page[r->pattern_at]));
        line_dec("at", r->pattern_at * 8);
        line_bytes("bytes", page + r->pattern_at, pattern_bytes(page, r));
    }
    else
    {
        line_word("class", "other");
        line_hex("hash", fnv1a64((const unsigned char *)page));
        if ( options.reveal )
        {
            line_dec("at", r->first);
            line_bytes("bytes", (const char *)page + r->first,
                       min(SHOWN_BYTES, PAGE_SIZE - r->first));
        }
    }

    line_end();
}

static bool take(long *left)
{
    return READ_ONCE(*left) > 0 && __atomic_fetch_sub(left, 1, __ATOMIC_RELAXED) > 0;
}

bool residue_examine(unsigned long pfn, const unsigned long *page,
                     const struct pattern *expected)
{
    struct residue r;
    bool pattern;

    if ( !expected )
    {
        if ( READ_ONCE(may_show) <= 0 && is_whole_pattern(page) )
            return true;
        if ( READ_ONCE(may_show_other) <= 0 && is_constant(page) )
            return false;
    }

    examine(&r, page, expected);
    pattern = r.pattern_words && r.pattern_words * 2 >= r.words;
    if ( READ_ONCE(may_show) > 0 && (pattern || take(&may_show_other)) && take(&may_show) )
        describe(pfn, page, &r, pattern);

    return pattern;
}
