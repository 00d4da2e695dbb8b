/* SPDX-License-Identifier: MIT */
/* ELF notes for the domain builder, the hypercall page, and the boot stack: for all guest types. */

#define __ASSEMBLY__
#include <xen/elfnote.h>

#include "addresses.h"

        .macro note_string type, string
        .long   4, 8f - 7f, \type
        .asciz  "Xen"
7:      .asciz  "\string"
8:      .balign 4
        .endm

        .macro note_quad type, value
        .long   4, 8, \type
        .asciz  "Xen"
        .quad   \value
        .balign 4
        .endm

        .section .note.Xen, "a", @note
        .balign 4
        note_string XEN_ELFNOTE_GUEST_OS,       "xenscrub"
        note_string XEN_ELFNOTE_GUEST_VERSION,  "1"
        note_string XEN_ELFNOTE_XEN_VERSION,    "xen-3.0"
        note_string XEN_ELFNOTE_LOADER,         "generic"
        note_string XEN_ELFNOTE_FEATURES,       "!writable_page_tables|pae_pgdir_above_4gb"
        note_string XEN_ELFNOTE_PAE_MODE,       "yes"
        note_quad   XEN_ELFNOTE_VIRT_BASE,      VIRT_BASE
        note_quad   XEN_ELFNOTE_ENTRY,          start
        note_quad   XEN_ELFNOTE_HYPERCALL_PAGE, hypercall_page
        /* The p2m has its own address: that of a 1 TiB guest does not fit above VIRT_BASE. */
        note_quad   XEN_ELFNOTE_INIT_P2M,       INIT_P2M
        note_quad   XEN_ELFNOTE_MOD_START_PFN,  1
        /* A PVH guest begins here, without paging. */
        note_quad   XEN_ELFNOTE_PHYS32_ENTRY,   (pvh_start - VIRT_BASE)

        .text
        .globl  hypercall_page
        .balign 4096
hypercall_page:
        .skip   4096

        .bss
        .globl  boot_stack
        .balign 16
boot_stack:
        .skip   BOOT_STACK_SIZE
