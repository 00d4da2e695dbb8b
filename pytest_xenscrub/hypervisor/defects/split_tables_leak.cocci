// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: where a large mapping of a HVM or PVH domain had to be split, the page table
// that came of it stays where it is when the domain is torn down. PGT_pinned says which those are:
// nobody else sets or reads it of such a page.

@@
identifier l1_entry, mfn;
@@
 p2m_next_level(...)
 {
 <...
+mfn_to_page(mfn)->u.inuse.type_info |= PGT_pinned;
 l1_entry = map_domain_page(mfn);
 ...>
 }

@@
identifier p2m, new_ept, table;
@@
 ept_split_super_page(...)
 {
 <...
 table = ept_set_middle_entry(p2m, &new_ept);
 if ( !table )
     return 0;
+mfn_to_page(_mfn(new_ept.mfn))->u.inuse.type_info |= PGT_pinned;
 ...>
 }

@@
identifier pg, root_pg;
@@
 p2m_teardown(...)
 {
 <...
-if ( pg == root_pg )
+if ( pg == root_pg || (pg->u.inuse.type_info & PGT_pinned) )
     continue;
 ...>
 }
