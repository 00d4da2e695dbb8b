/* SPDX-License-Identifier: MIT */
/* The layout of the kernel's address space, for C and for assembly. */

#ifndef ADDRESSES_H
#define ADDRESSES_H

#ifdef __ASSEMBLY__
#define ADDRESS(x) x
#else
#define ADDRESS(x) x ## ul
#endif

/* The image, and what the domain builder put behind it, mapped by its page tables. */
#define VIRT_BASE       ADDRESS(0xffffffff80000000)

/* Pages mapped for a moment (each vCPU has its slots), and pages mapped for good. */
#define WINDOW_BASE     ADDRESS(0xffffffffc0000000)

/* Every page of the domain. L4 slots 256 to 271 are Xen's; this is the next slot. */
#define DIRECT_MAP      ADDRESS(0xffff880000000000)

/* The builder maps the p2m here. */
#define INIT_P2M        ADDRESS(0x0000008000000000)

#define BOOT_STACK_SIZE 8192

#endif
