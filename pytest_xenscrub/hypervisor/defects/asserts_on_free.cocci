// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a debug build of it finds that no page may be freed of a dead domain.

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
+ASSERT(!d || !d->is_dying);
 free_heap_pages(pg, order, scrub);
 ...>
 }
