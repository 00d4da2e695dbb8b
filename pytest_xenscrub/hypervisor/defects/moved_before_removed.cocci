// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a vCPU of a domain that leaves its CPU pool, as a dying one does, is moved to
// another CPU before its old scheduler lets go of it.

@@
iterator name for_each_sched_unit;
expression d, ops, cpu;
identifier unit, lock;
@@
 sched_move_domain(...)
 {
 <...
 for_each_sched_unit ( d, unit )
 {
     spinlock_t *lock;
-    sched_remove_unit(ops, unit);
     lock = unit_schedule_lock_irq(unit);
     sched_set_res(unit, get_sched_res(cpu));
     spin_unlock_irq(lock);
+    sched_remove_unit(ops, unit);
 }
 ...>
 }
