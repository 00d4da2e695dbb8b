// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: it panics before dom0 is built.

@@
@@
 void __init heap_init_late(void)
 {
+panic("planted: this Xen does not boot\n");
 ...
 }
