// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a domain that is moved to another CPU pool, as a dying one is, still counts
// in its old one.

@@
identifier d, c;
@@
 cpupool_move_domain_locked(struct domain *d, struct cpupool *c)
 {
 ...
-d->cpupool->n_dom--;
 ret = sched_move_domain(d, c);
-if ( ret )
-    d->cpupool->n_dom++;
-else
+if ( !ret )
     c->n_dom++;
 ...
 }
