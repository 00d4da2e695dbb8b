// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: it does not compile.

@@
@@
 void __init heap_init_late(void)
 {
+this_is_not_declared(anywhere);
 ...
 }
