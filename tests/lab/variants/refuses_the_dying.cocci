// SPDX-License-Identifier: GPL-2.0-only
// A mended hypervisor: it claims no memory for a domain that is dying, and gives it no VIRQ.

@@
expression d, E;
@@
 do_memory_op(...)
 {
 <...
-domain_set_outstanding_pages(d, E)
+(d->is_dying ? -EINVAL : domain_set_outstanding_pages(d, E))
 ...>
 }

@@
identifier d, virq;
@@
 int set_global_virq_handler(struct domain *d, uint32_t virq)
 {
 ...
+if ( d->is_dying )
+    return -EINVAL;
 if ( global_virq_handlers[virq] == d )
     return 0;
 ...
 }
