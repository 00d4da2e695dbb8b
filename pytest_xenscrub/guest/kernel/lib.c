/* SPDX-License-Identifier: MIT */

#include "lib.h"

void *memset(void *dest, int byte, size_t bytes)
{
    void *p = dest;

    asm volatile ( "rep stosb" : "+D" (p), "+c" (bytes) : "a" (byte) : "memory" );

    return dest;
}

void *memcpy(void *dest, const void *src, size_t bytes)
{
    void *p = dest;

    asm volatile ( "rep movsb" : "+D" (p), "+S" (src), "+c" (bytes) :: "memory" );

    return dest;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;

    for ( ; bytes; bytes--, x++, y++ )
        if ( *x != *y )
            return *x - *y;

    return 0;
}

size_t strlen(const char *s)
{
    const char *end = s;

    while ( *end )
        end++;

    return end - s;
}

unsigned long parse_number(const char *s)
{
    unsigned long value = 0;
    unsigned int base = 10;

    if ( s[0] == '0' && (s[1] | 0x20) == 'x' )
    {
        base = 16;
        s += 2;
    }

    for ( ; ; s++ )
    {
        unsigned int digit;

        if ( *s >= '0' && *s <= '9' )
            digit = *s - '0';
        else if ( (*s | 0x20) >= 'a' && (*s | 0x20) <= 'f' )
            digit = (*s | 0x20) - 'a' + 10;
        else
            return value;

        if ( digit >= base )
            return value;

        value = value * base + digit;
    }
}
