/* SPDX-License-Identifier: MIT */
/* A PVH guest starts here, in 32-bit mode, without paging, at pseudo-physical addresses. */

#define __ASSEMBLY__
#include "addresses.h"

#define PHYS(symbol)    ((symbol) - VIRT_BASE)

#define CR0_PE_MP_WP_PG 0x80010003
#define CR4_PAE         0x20
#define MSR_EFER        0xc0000080
#define EFER_LME        0x100

#define CODE_SEGMENT    8

/* Present, writable, accessed, dirty: for tables above L1, and for a 2 MiB page. */
#define TABLE           0x67
#define LARGE           0xe3

        .text
        .globl  pvh_start, pvh_start_secondary, pvh_fault, pvh_l3, pvh_l4, pvh_idt

/* %ebx: hvm_start_info. */
        .code32
pvh_start:
        cld
        movl    $CR4_PAE, %eax
        movl    %eax, %cr4
        movl    $PHYS(pvh_l4), %eax
        movl    %eax, %cr3
        movl    $MSR_EFER, %ecx
        rdmsr
        orl     $EFER_LME, %eax
        wrmsr
        movl    $CR0_PE_MP_WP_PG, %eax
        movl    %eax, %cr0
        lgdt    PHYS(gdt_at_phys)
        ljmp    $CODE_SEGMENT, $PHYS(long_mode)

        .code64
long_mode:
        movq    $at_virtual_address, %rax
        jmp     *%rax
at_virtual_address:
        movq    $boot_stack + BOOT_STACK_SIZE, %rsp
        call    load_tables
        /* Unmaps the low addresses, at which the code has run until now. */
        movq    $0, pvh_l4
        movq    %cr3, %rax
        movq    %rax, %cr3
        movl    %ebx, %edi
        xorl    %ebp, %ebp
        call    pvh_main
        ud2

/* %rdi: number of the vCPU; %rsi: last job; %rsp: its stack (set by VCPUOP_initialise). */
pvh_start_secondary:
        cld
        call    load_tables
        xorl    %ebp, %ebp
        call    work_main
        ud2

/* A fault's handler needs the code segment; data segments are not used in long mode. */
load_tables:
        lgdt    gdt_at
        lidt    idt_at
        ret

/* Handles every fault. Ignores the stack frame, which may have an error code or not. */
pvh_fault:
        andq    $-16, %rsp
        call    pvh_crash
        ud2

        .data
        .balign 4096
pvh_l4: .quad   PHYS(pvh_l3) + TABLE
        .skip   510 * 8
        .quad   PHYS(pvh_l3) + TABLE

/* The image is in the first GiB; its last slot is for windows. */
pvh_l3: .quad   PHYS(image_l2) + TABLE
        .skip   509 * 8
        .quad   PHYS(image_l2) + TABLE
        .skip   8

image_l2:
        page = 0
        .rept   512
        .quad   page + LARGE
        page = page + 0x200000
        .endr

gdt:    .quad   0
        .quad   0x00af9b000000ffff
gdt_end:

gdt_at_phys:
        .word   gdt_end - gdt - 1
        .long   PHYS(gdt)
gdt_at: .word   gdt_end - gdt - 1
        .quad   gdt
idt_at: .word   32 * 16 - 1
        .quad   pvh_idt

        .bss
        .balign 16
pvh_idt:
        .skip   32 * 16
