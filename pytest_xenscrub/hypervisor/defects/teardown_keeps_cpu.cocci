// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the teardown of a domain is one hypercall without an end in between. Who
// asked for it has no CPU until all of the domain's memory is free.

@@
identifier ret, d;
@@
-ret = domain_kill(d);
+do
+    ret = domain_kill(d);
+while ( ret == -ERESTART );
