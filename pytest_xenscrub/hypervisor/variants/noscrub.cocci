// SPDX-License-Identifier: GPL-2.0-only
// The control: the pages of a dying domain go back to the heap as if they were clean.
//
// Everything else is left alone: pages without an owner, and those of a living domain where
// the boot option scrub-domheap asks for it, are scrubbed as ever.

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
-free_heap_pages(pg, order, scrub);
+free_heap_pages(pg, order, scrub && !(d && d->is_dying));
 ...>
 }
