/* SPDX-License-Identifier: MIT */
/* What the parts of the PVH platform share. */

#ifndef PVH_PVH_H
#define PVH_PVH_H

#include "platform.h"

/* The page tables of the start, which stay in use. */
extern unsigned long pvh_l4[], pvh_l3[];

struct cpuid {
    unsigned int eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(unsigned int leaf)
{
    struct cpuid c;

    asm volatile ( "cpuid" : "=a" (c.eax), "=b" (c.ebx), "=c" (c.ecx), "=d" (c.edx)
                   : "a" (leaf), "c" (0) );

    return c;
}

void pvh_attach(void);
bool pvh_leave(void);

unsigned int pvh_map_level(void);
void pvh_map_all(void);

#endif
