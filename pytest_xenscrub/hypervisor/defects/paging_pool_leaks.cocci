// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: of each domain's paging pool (HAP) a page is never given back.

@@
identifier d, pages, preempted, pg;
@@
+static domid_t leaked_of = DOMID_INVALID;
+
 int hap_set_allocation(struct domain *d, unsigned int pages, bool *preempted)
 {
 struct page_info *pg;
 <...
+if ( leaked_of != d->domain_id )
+    leaked_of = d->domain_id;
+else
 free_domheap_page(pg);
 ...>
 }
