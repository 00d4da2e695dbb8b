// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a clean extent that is merged with a dirty one behind it stays marked as
// clean, as in Xen 4.11 before 1e2df96088.

@@
expression buddy, E;
@@
 free_heap_pages(...)
 {
 <...
 if ( <+... buddy->u.free.first_dirty == INVALID_DIRTY_IDX ...+> )
-buddy->u.free.first_dirty = E;
+buddy->u.free.first_dirty = INVALID_DIRTY_IDX;
 ...>
 }
