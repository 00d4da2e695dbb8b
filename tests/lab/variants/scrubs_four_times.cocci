// SPDX-License-Identifier: GPL-2.0-only
// A slow hypervisor: each page of a dead domain is scrubbed while it is freed, and four times.

@@
identifier pg, order, scrub, i;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 ...
 unsigned int i;
 <...
-free_heap_pages(pg, order, scrub);
+if ( scrub )
+    for ( i = 0; i < (4u << order); i++ )
+        scrub_one_page(&pg[i >> 2]);
+free_heap_pages(pg, order, false);
 ...>
 }
