// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: free pages that merge into an extent of 2 MiB (order 9) are no longer marked
// as dirty there, but for the first one.

@@
identifier pg, order, need_scrub;
symbol i, node;
@@
 free_heap_pages(struct page_info *pg, unsigned int order, bool need_scrub)
 {
 <...
 order++;
+if ( order == 9 )
+{
+    for ( i = 1; i < (1u << order); i++ )
+        if ( pg[i].count_info & PGC_need_scrub )
+        {
+            pg[i].count_info &= ~PGC_need_scrub;
+            node_need_scrub[node]--;
+        }
+    pg->u.free.first_dirty = pg->count_info & PGC_need_scrub ? 0 : INVALID_DIRTY_IDX;
+}
 ...>
 }
