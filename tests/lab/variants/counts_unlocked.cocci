// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: free pages are counted before the heap's lock is taken.

@@
expression pages;
@@
 free_heap_pages(...)
 {
 ...
+ACCESS_ONCE(total_avail_pages) = ACCESS_ONCE(total_avail_pages) + (1ul << order);
 spin_lock(&heap_lock);
 ...
-total_avail_pages += pages;
 ...
 }
