// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a domain that handles a VIRQ of the whole host handles it when it is dead,
// too, and is referred to for good.

@@
identifier d, virq;
@@
 clear_global_virq_handlers(struct domain *d)
 {
 <...
-global_virq_handlers[virq] == d
+global_virq_handlers[virq] == d && !d->is_dying
 ...>
 }
