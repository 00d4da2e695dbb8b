// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a domain that has crashed is scrubbed, though it has not died yet.

@@
identifier d;
@@
__domain_finalise_shutdown(struct domain *d)
 {
 <...
+if ( d->shutdown_code == SHUTDOWN_crash )
+{
+    struct page_info *page;
+
+    spin_lock_recursive(&d->page_alloc_lock);
+    for ( page = page_list_first(&d->page_list); page; page = page_list_next(page, &d->page_list) )
+        if ( (page->u.inuse.type_info & PGT_type_mask) == PGT_writable_page )
+            clear_domain_page(page_to_mfn(page));
+    spin_unlock_recursive(&d->page_alloc_lock);
+}
 d->is_shut_down = 1;
 ...>
 }
