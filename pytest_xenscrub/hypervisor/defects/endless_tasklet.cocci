// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: the first dead domain's page schedules a tasklet whose handler never
// returns, on every CPU in turn: guests, dom0 among them, lose their CPUs for good.

@@
@@
 static unsigned long node_need_scrub[MAX_NUMNODES];
+
+static void endless_scrub(void *unused)
+{
+    for ( ; ; )
+        cpu_relax();
+}
+
+static struct tasklet endless_tasklets[NR_CPUS];
+static bool endless_started;
+
+static void start_endless_scrub(void)
+{
+    unsigned int cpu;
+
+    if ( endless_started )
+        return;
+    endless_started = true;
+    for ( cpu = 0; cpu < nr_cpu_ids; cpu++ )
+    {
+        if ( !cpu_online(cpu) )
+            continue;
+        tasklet_init(&endless_tasklets[cpu], endless_scrub, NULL);
+        tasklet_schedule_on_cpu(&endless_tasklets[cpu], cpu);
+    }
+}

@@
identifier pg, order, scrub, d;
@@
 void free_domheap_pages(struct page_info *pg, unsigned int order)
 {
 struct domain *d = page_get_owner(pg);
 <...
+if ( d && d->is_dying )
+    start_endless_scrub();
 free_heap_pages(pg, order, scrub);
 ...>
 }
