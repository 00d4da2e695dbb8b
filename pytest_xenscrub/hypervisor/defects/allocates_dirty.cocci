// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a guest is given pages that wait for their scrub as they are, and they no
// longer count as dirty: so nobody scrubs them.

@@
expression E;
@@
 alloc_heap_pages(...)
 {
 <...
-if ( !(memflags & MEMF_no_scrub) )
+if ( !(memflags & MEMF_no_scrub) && !(d && d->domain_id) )
     scrub_one_page(E);
 ...>
 }
