// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a dying domain's pages are scrubbed at once, also those that somebody uses.

@@
identifier page;
@@
 relinquish_memory(...)
 {
 <...
 put_page_alloc_ref(page);
+if ( (page->count_info & PGC_count_mask) > 1 &&
+     !(page->u.inuse.type_info & PGT_count_mask) )
+    clear_domain_page(page_to_mfn(page));
 ...>
 }
