/* SPDX-License-Identifier: MIT */
/* Parses the command line: key=value, separated by blanks. Unknown keys are ignored. */

#include "kernel.h"
#include "pattern.h"

struct options options;

/* The value of a key, which ends at a blank or NUL; NULL without that key. */
static const char *option(const char *command_line, const char *key)
{
    size_t len = strlen(key);
    const char *s = command_line;

    while ( *s )
    {
        const char *word = s;

        while ( *s && *s != ' ' )
            s++;
        if ( s - word > len && word[len] == '=' && !memcmp(word, key, len) )
            return word + len + 1;
        while ( *s == ' ' )
            s++;
    }

    return NULL;
}

static unsigned long number(const char *command_line, const char *key,
                            unsigned long otherwise)
{
    const char *value = option(command_line, key);

    return value ? parse_number(value) : otherwise;
}

static bool chosen(const char *command_line, const char *key, const char *choice)
{
    const char *value = option(command_line, key);
    size_t len = 0;

    if ( !value )
        return false;
    while ( value[len] && value[len] != ' ' )
        len++;

    return word_is(value, len, choice);
}

void options_parse(const char *line)
{
    options.run = number(line, "run", 0) & ((1ul << RUN_BITS) - 1);
    options.guest = number(line, "guest", 0) & ((1ul << GUEST_BITS) - 1);
    options.clean = number(line, "clean", 0) & 0xff;
    options.show = number(line, "show", 16);
    options.vcpus = number(line, "vcpus", 0);
    options.pages = number(line, "pages", 0);
    options.reveal = number(line, "reveal", 0);
    options.sample.seed = number(line, "seed", 0);
    options.sample.single = number(line, "single", SAMPLE_ALL);
    options.sample.dense = number(line, "dense", 0);
    options.actions = option(line, "do") ?: "";

    if ( chosen(line, "fill", "stosq") )
        options.fill = FILL_STOSQ;
    else if ( chosen(line, "fill", "movnti") )
        options.fill = FILL_MOVNTI;
    if ( chosen(line, "scan", "word") )
        options.scan = SCAN_WORD;
}
