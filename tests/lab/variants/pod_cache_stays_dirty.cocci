// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: pages that a guest gives back to its cache (PoD) are cleared when it uses them
// again, no longer when they come, and the cache is emptied just before its domain is said to die.

@@
@@
 p2m_pod_cache_add(...)
 {
 <...
-for ( i = 0; i < (1UL << order); i++ )
-    clear_domain_page(...);
 ...>
 }

@@
@@
 p2m_pod_demand_populate(...)
 {
 ...
 BUG_ON((mfn_x(mfn) & ((1UL << order) - 1)) != 0);
+for ( i = 0; i < (1UL << order); i++ )
+    clear_domain_page(mfn_add(mfn, i));
 ...
 }

@@
@@
 p2m_pod_set_mem_target(...)
 {
 ...
 }
+
+void p2m_pod_drop_cache(struct domain *d)
+{
+    struct p2m_domain *p2m;
+
+    if ( !is_hvm_domain(d) )
+        return;
+    p2m = p2m_get_hostp2m(d);
+    pod_lock(p2m);
+    p2m_pod_set_cache_target(p2m, 0, 0);
+    pod_unlock(p2m);
+}

@@
identifier d;
@@
+void p2m_pod_drop_cache(struct domain *d);
+
 int domain_kill(struct domain *d)
 {
 <...
+p2m_pod_drop_cache(d);
 d->is_dying = DOMDYING_dying;
 ...>
 }
