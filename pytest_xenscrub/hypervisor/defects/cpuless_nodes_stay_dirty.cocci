// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a CPU scrubs its own node alone, so those without CPUs are never scrubbed.

@@
@@
 node_to_scrub(...)
 {
 <...
-closest = node;
+node_clear(node, node_scrubbing);
 ...>
 }
