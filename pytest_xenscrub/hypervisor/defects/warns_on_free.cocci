// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: it warns, once, when a dead domain's page is freed.

@@
identifier pg, order, scrub, d;
@@
+static bool warned;
+
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
+if ( d && d->is_dying && !warned )
+{
+    warned = true;
+    WARN();
+}
 free_heap_pages(pg, order, scrub);
 ...>
 }
