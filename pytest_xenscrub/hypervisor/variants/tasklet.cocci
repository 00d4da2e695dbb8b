// SPDX-License-Identifier: GPL-2.0-only
// Dead domains' pages are scrubbed by tasklets: hooks scrub_tasklet.c into the allocator.

// Since 4.21 scrub_one_page() is told whether the page's cache lines are of use to the caller.
@ cold @
identifier pg, hint;
@@
 void scrub_one_page(const struct page_info *pg, bool hint)
 {
 ...
 }

@@
@@
 static unsigned long node_need_scrub[MAX_NUMNODES];
+#include "scrub_tasklet.c"

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
-free_heap_pages(pg, order, scrub);
+if ( !d || !d->is_dying || !scrub_tasklet_defer(pg, order) )
+    free_heap_pages(pg, order, scrub);
 ...>
 }

@ depends on cold @
identifier pg, order;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 ...
 }
+
+static void scrub_tasklet_clear(struct page_info *pg)
+{
+    scrub_one_page(pg, true);
+}

@ depends on !cold @
identifier pg, order;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 ...
 }
+
+static void scrub_tasklet_clear(struct page_info *pg)
+{
+    scrub_one_page(pg);
+}

// An allocation does not fail while there are pages that only wait to be scrubbed.
@@
expression lo, hi, order, flags, d;
@@
-alloc_heap_pages(lo, hi, order, flags, d)
+scrub_tasklet_alloc(lo, hi, order, flags, d)

// Claims may rest on such pages, too.
@@
expression request, available;
@@
 alloc_heap_pages(...)
 {
 <...
-outstanding_claims + request > available
+outstanding_claims + request > available + scrub_tasklet_pages()
 ...>
 }

@@
identifier available;
@@
 domain_set_outstanding_pages(...)
 {
 <...
-available = total_avail_pages;
+available = total_avail_pages + scrub_tasklet_pages();
 ...>
 }

// What is told as free less what is told as claimed must not become negative by that.
@@
typedef uint64_t;
identifier free_pages, claimed;
expression E;
@@
 void get_outstanding_claims(uint64_t *free_pages, uint64_t *claimed)
 {
 <...
 *free_pages = E;
+if ( *claimed > *free_pages )
+    *claimed = *free_pages;
 ...>
 }

@@
identifier key;
expression i;
@@
 static void dump_heap(unsigned char key)
 {
 <...
-node_need_scrub[i]
+(node_need_scrub[i] + scrub_tasklet_node_pages(i))
 ...>
 }

@@
@@
 #include <public/sysctl.h>
+#include "scrub_tasklet.h"

@@
expression pi;
@@
-pi->scrub_pages = 0;
+pi->scrub_pages = scrub_tasklet_pages();
