// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the first single page of a dead domain's cache (PoD) stays where it is.

@@
@@
 p2m_pod_empty_cache(...)
 {
 <...
-page_list_add_tail(page, &d->page_list);
+if ( i )
+    page_list_add_tail(page, &d->page_list);
 ...>
 }
