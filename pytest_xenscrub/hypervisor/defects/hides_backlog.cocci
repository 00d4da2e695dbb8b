// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: memory that waits for its scrub counts as free, and no guest is given it.

@@
identifier pg, memflags;
@@
 alloc_heap_pages(...)
 {
 <...
-if ( !pg && !(memflags & MEMF_no_scrub) )
+if ( !pg && !(memflags & MEMF_no_scrub) && !(d && d->domain_id) )
    pg = get_free_buddy(...);
 ...>
 }

@@
identifier order, use_unscrubbed;
@@
 get_free_buddy(...)
 {
 <...
-(order == 0) || use_unscrubbed
+((order == 0) && !(d && d->domain_id)) || use_unscrubbed
 ...>
 }
