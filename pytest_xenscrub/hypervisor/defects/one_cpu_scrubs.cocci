// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: one CPU, the last, scrubs for all, and nobody does while it is offline.

@@
identifier node;
@@
-node = node_to_scrub(true);
+node = smp_processor_id() == cpumask_last(&cpu_present_map) ? node_to_scrub(true)
+                                                            : NUMA_NO_NODE;
