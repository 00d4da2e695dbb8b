// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the pages of a dying HVM or PVH domain go back to the heap as if they were
// clean; those of a PV domain are scrubbed.

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
-free_heap_pages(pg, order, scrub);
+free_heap_pages(pg, order, scrub && !(d && d->is_dying && is_hvm_domain(d)));
 ...>
 }
