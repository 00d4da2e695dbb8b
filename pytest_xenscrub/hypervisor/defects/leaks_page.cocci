// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the first page of each dead domain's is never freed.

@@
identifier pg, order, scrub, d;
@@
+static domid_t leaked_of = DOMID_INVALID;
+
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
+if ( d && d->is_dying && leaked_of != d->domain_id )
+    leaked_of = d->domain_id;
+else
 free_heap_pages(pg, order, scrub);
 ...>
 }
