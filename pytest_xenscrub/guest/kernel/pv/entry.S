/* SPDX-License-Identifier: MIT */
/* A PV guest starts here, in long mode, with the domain builder's page tables. */

#define __ASSEMBLY__
#include "addresses.h"

        .text
        .globl  start, pv_start_secondary

/* %rsi: start_info; %rsp: end of what the domain builder placed after the image. */
start:
        cld
        leaq    boot_stack + BOOT_STACK_SIZE(%rip), %rax
        xchgq   %rax, %rsp
        movq    %rsi, %rdi
        movq    %rax, %rsi
        xorl    %ebp, %ebp
        call    pv_main
        ud2

/* %rdi: number of the vCPU; %rsi: last job; %rsp: its stack (set by VCPUOP_initialise). */
pv_start_secondary:
        cld
        xorl    %ebp, %ebp
        call    work_main
        ud2
