// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: of each 2 MiB that a claim is used up by, a page stays claimed for good.

@@
identifier after;
@@
 domain_adjust_tot_pages(...)
 {
 <...
-outstanding_claims = after;
+outstanding_claims = after + (pages == 512);
 ...>
 }
