// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a CPU that goes offline scrubs all that waits first, and whoever sent it away
// waits for it.

@@
@@
 scrub_free_pages(void)
 {
 <...
-!cpu_online(cpu) || (cnt > 800 && softirq_pending(cpu))
+cnt > 800 && softirq_pending(cpu)
 ...>
 }

@@
@@
 idle_loop(void)
 {
 <...
+while ( scrub_free_pages() )
+    cpu_relax();
 play_dead();
 ...>
 }
