// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the teardown of a domain's p2m does not give back the first of its page
// tables.

@@
identifier p2m, remove_root, preempted, pg, d;
@@
+static domid_t p2m_leaked_of = DOMID_INVALID;
+
 void p2m_teardown(struct p2m_domain *p2m, bool remove_root, bool *preempted)
 {
 <...
+if ( p2m_leaked_of != d->domain_id )
+    p2m_leaked_of = d->domain_id;
+else
 d->arch.paging.free_page(d, pg);
 ...>
 }
