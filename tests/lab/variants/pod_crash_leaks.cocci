// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a guest that uses more than it has (PoD) costs pages for good.

@@
@@
 p2m_pod_demand_populate(...)
 {
 <...
+alloc_domheap_page(NULL, 0);
 domain_crash(d);
 ...>
 }
