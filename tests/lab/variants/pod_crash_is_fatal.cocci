// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a guest that uses more than it has (PoD) is Xen's end, and not its own.

@@
@@
 p2m_pod_demand_populate(...)
 {
 <...
-domain_crash(d);
+BUG();
 ...>
 }
