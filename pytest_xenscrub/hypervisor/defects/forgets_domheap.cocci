// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: what a live domain gives back is not scrubbed, whatever scrub-domheap says.

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
-free_heap_pages(pg, order, scrub);
+free_heap_pages(pg, order, scrub && (!d || d->is_dying));
 ...>
 }
