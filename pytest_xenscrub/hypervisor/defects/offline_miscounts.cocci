// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a page that goes offline is still counted as free memory.

@@
identifier node, zone;
@@
 static int reserve_offlined_page(struct page_info *head)
 {
 <...
-avail[node][zone]--;
 ...>
 }
