// SPDX-License-Identifier: GPL-2.0-only
// As before Xen 4.10: whoever frees a domain's pages scrubs them, before the heap gets them.

// Since 4.22 scrub_one_page() is told whether the page's cache lines are of use to the caller.
@ cold @
identifier pg, hint;
@@
 void scrub_one_page(const struct page_info *pg, bool hint)
 {
 ...
 }

@ depends on !cold @
identifier pg, order, scrub, i;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 ...
 unsigned int i;
 <...
-free_heap_pages(pg, order, scrub);
+if ( scrub )
+    for ( i = 0; i < (1u << order); i++ )
+        scrub_one_page(&pg[i]);
+free_heap_pages(pg, order, false);
 ...>
 }

@ depends on cold @
identifier pg, order, scrub, i;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 ...
 unsigned int i;
 <...
-free_heap_pages(pg, order, scrub);
+if ( scrub )
+    for ( i = 0; i < (1u << order); i++ )
+        scrub_one_page(&pg[i], true);
+free_heap_pages(pg, order, false);
 ...>
 }
