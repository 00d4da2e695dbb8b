// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: whenever a teardown goes on, it walks all pages of the domain that are left.
// It goes on after each 8192 pages at the earliest, or it would never come to an end.

@@
iterator name page_list_for_each;
identifier d, list, type, page;
@@
 relinquish_memory(struct domain *d, struct page_list_head *list, unsigned long type)
 {
     struct page_info *page;
+    unsigned int since = 0;
     ...
     spin_lock_recursive(&d->page_alloc_lock);
+    page_list_for_each ( page, list )
+        (void)ACCESS_ONCE(page->count_info);
     <...
-    if ( hypercall_preempt_check() )
+    if ( !(++since % 8192) && hypercall_preempt_check() )
     {
     ...
     }
     ...>
 }
