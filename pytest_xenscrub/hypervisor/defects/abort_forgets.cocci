// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a scrub that is broken off leaves its extent marked as all clean.

@@
struct scrub_wait_state *st;
@@
 scrub_continue(...)
 {
 <...
-st->pg->u.free.first_dirty = st->first_dirty;
+st->pg->u.free.first_dirty = INVALID_DIRTY_IDX;
 ...>
 }

@@
expression pg, E;
@@
 scrub_free_pages(void)
 {
 <...
 if ( pg->u.free.scrub_state == BUDDY_SCRUB_ABORT )
 {
-pg->u.free.first_dirty = E;
+pg->u.free.first_dirty = INVALID_DIRTY_IDX;
 ...
 }
 ...>
 }
