# SPDX-License-Identifier: MIT
"""The agent's operations, one for each kind of request. Part of the agent.

Plain Python 3.6, as the agent is.
"""

import errno
import os
import re
import time
import uuid
from typing import Any, Callable, Dict, List, Optional, Sequence

from pytest_xenscrub.dom0.sent.bindings import Xen
from pytest_xenscrub.dom0.sent.commands import Commands, Ending
from pytest_xenscrub.dom0.sent.progress import Clock, Stillness, io_bytes
from pytest_xenscrub.dom0.sent.reclaim_watch import SAMPLE_SECONDS, Watch, runs

Facts = Dict[str, Any]

SHUTDOWN_CRASH = 3
SCHEDULER_CREDIT = 5
SCHEDULER_CREDIT2 = 6
MOST_CPUS = 4096

NODE = re.compile(r"NODE(\d+) start->(\d+) size->(\d+)")


class Operations:
    """`do_OP` carries out a request with its arguments; its result must be valid JSON."""

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.xen = Xen(xc)
        self.commands = Commands()
        self.clock = Clock()
        self.calls: Dict[int, Stillness] = {}

    # -- what it tells ------------------------------------------------------------------------

    def do_info(self) -> Facts:
        """Facts about Xen, and the machine's memory and CPUs."""
        facts = dict(self.xc.xeninfo())
        physical = self.xc.physinfo()
        facts.update(
            total_bytes=physical["total_memory"] * 1024,
            cpus=physical["nr_cpus"],
            nodes=physical["nr_nodes"],
            virt_caps=physical["virt_caps"],
            build_id=self.xc.buildid(),
            dom0_kernel=os.uname().release,
            cpu_model=cpu_model(),
        )
        return facts

    def do_memory(self) -> Facts:
        """Free memory as Xen counts it, which may include the backlog."""
        return {"free_bytes": self.xen.free_bytes(), "at": time.monotonic()}

    def do_backlog(self) -> Facts:
        """Pages that are free and not scrubbed yet, by node; empty without any."""
        return {"nodes": self.xen.backlog(), "at": time.monotonic()}

    def do_nodes(self) -> Facts:
        """NUMA nodes as [number, first frame, frames], from debug key u."""
        nodes = [[int(word) for word in found] for found in NODE.findall(self.xen.dump("u"))]
        if not nodes:
            raise RuntimeError("debug key u left no NUMA nodes in Xen's log")
        return {"nodes": nodes}

    def do_memory_of_nodes(self) -> Facts:
        """Free memory of each NUMA node, by its number (whole MiB), and the nodes with CPUs."""
        cpus = {node for node in self.xc.topologyinfo()["cpu_to_node"] if node is not None}
        return {"free_mib": self.xc.numainfo()["node_memfree"], "with_cpus": sorted(cpus)}

    def do_domains(self) -> List[Facts]:
        """Every domain that Xen knows, including dying ones."""
        return [
            {
                "domid": info["domid"],
                "uuid": str(uuid.UUID(bytes=bytes(info["handle"]))),
                "memory_bytes": info["mem_kb"] * 1024,
                "dying": bool(info["dying"]),
                "runs": runs(info),
                "paused": bool(info["paused"]),
                "cpu_seconds": info["cpu_time"] / 1e9,
            }
            for info in self.xc.domain_getinfo(0, 1024)
        ]

    def do_log(self, lines: int) -> List[str]:
        """The last lines of Xen's log, without the heap dumps that the agent asked for."""
        return self.xen.logged()[1][-lines:]

    def do_log_from(self, first: Optional[int]) -> Facts:
        """The lines of Xen's log from number `first` on, if given, and the next line's number.

        Gives the last lines if there are very many; heap dumps do not count.
        """
        count, lines = self.xen.logged()
        new = 0 if first is None else min(count - first, len(lines))
        return {"lines": lines[len(lines) - new :], "next": count}

    # -- what it does -------------------------------------------------------------------------

    def do_debug_key(self, key: str) -> Facts:
        """Press one of Xen's debug keys."""
        self.xc.send_debug_keys(key)
        return {}

    def do_write(self, path: str, text: str) -> Facts:
        """Write a file, and make its folder."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return {}

    def do_starved(self, seconds: float) -> Facts:
        """Note that the host was starved for so long, which does not count for hangs."""
        self.clock.starved += seconds
        return {}

    def do_still(self, call: int, hang: float) -> Optional[Facts]:
        """How long nothing has moved while a daemon handles a call; None while something moves.

        Args:
            call: number of the call, the same in all questions during it.
            hang: time without progress that counts as a hang, s.
        """
        stillness = self.calls.setdefault(call, Stillness(self.clock))
        if self.moves(stillness, hang):
            return None
        return self.calls.pop(call).told()

    def do_run(self, argv: Sequence[str], timeout: float, hang: Optional[float] = None) -> Facts:
        """Run a command to its end; kill it if its time is over, or if it hangs.

        Args:
            argv: the command.
            timeout: limit, s.
            hang: time without progress that counts as a hang, s; None for no such limit.

        Returns the result of `Commands.run`, and "still": None, or how long nothing moved.
        """
        end = self.clock.now() + timeout
        stillness = Stillness(self.clock)
        still: List[Facts] = []

        def over(session: int) -> bool:
            if hang is not None and not self.moves(stillness, hang, session):
                still.append(stillness.told())
            return bool(still) or self.clock.now() >= end

        result = self.commands.run(argv, over)
        result["still"] = still[0] if still else None
        return result

    def moves(self, stillness: Stillness, hang: float, session: Optional[int] = None) -> bool:
        """Whether something moved lately, while a toolstack builds, moves or ends a domain."""
        domains = [
            [info["domid"], info["mem_kb"], info["dying"], info["shutdown"], info["crashed"]]
            for info in self.xc.domain_getinfo(0, 1024)
        ]
        stillness.differs("domains", domains)
        stillness.rises("free", self.xen.free_bytes())
        # Only if nothing else moved, because looking at all processes costs more; needed for moves
        # to disk.
        if stillness.seconds() >= hang / 4:
            stillness.rises("io", io_bytes(session))
        return stillness.seconds() < hang

    def do_abort(self) -> Facts:
        """Kill the commands that still run."""
        self.commands.kill()
        return {}

    def do_crash(self, domid: int) -> Facts:
        """Crash a domain from outside, like `SHUTDOWN_crash` from inside."""
        self.xc.domain_shutdown(domid, SHUTDOWN_CRASH)
        return {}

    def do_pin(self, domid: int, vcpus: int) -> Facts:
        """Pin each vCPU of a domain to a CPU of its own."""
        cpus = iter(range(MOST_CPUS))
        for number in range(vcpus):
            if not any(self.pinned(domid, number, cpu) for cpu in cpus):
                raise LookupError("there are not {} CPUs online".format(vcpus))
        return {}

    def pinned(self, domid: int, vcpu: int, cpu: int) -> bool:
        """Pin a vCPU; returns whether that succeeded, which it does not for an offline CPU."""
        try:
            self.xc.vcpu_setaffinity(domid, vcpu, [cpu])
        except Exception as error:
            if error.args[:1] == (errno.EINVAL,):
                return False
            raise
        return True

    def do_weigh(self, domid: int, weight: int) -> Facts:
        """Set a domain's weight, if the scheduler has weights."""
        scheduler = self.xc.sched_id_get()
        if scheduler == SCHEDULER_CREDIT:
            self.xc.sched_credit_domain_set(domid, weight=weight)
        elif scheduler == SCHEDULER_CREDIT2:
            self.xc.sched_credit2_domain_set(domid, weight=weight)
        return {}

    def memory_of_others(self, domid: int) -> List[List[int]]:
        """The memory of every domain but one."""
        domains = self.xc.domain_getinfo(0, 1024)
        return [[info["domid"], info["mem_kb"]] for info in domains if info["domid"] != domid]

    def do_reclaim(
        self,
        domid: int,
        argv: Optional[Sequence[str]],
        timeout: float,
        until: str,
        begun: Callable[[], None],
        *,
        hang: Optional[float] = None,
        may_stay_alive: bool = False,
    ) -> Facts:
        """End a domain and watch its memory come back.

        Args:
            domid: the domain.
            argv: the command that ends the domain; None if something else does: then "issued" is
                the first look at which the domain no longer ran.
            timeout: when to stop watching, s from now.
            until: when to stop watching: "gone", "free" (its memory is) or "clean" (no backlog).
            begun: called once the domain's memory is known, before the command is started.
            hang: time without progress that counts as a hang, s; None for no such limit.
            may_stay_alive: as for `Watch`.

        Returns the command's result under "command", and the moments "issued", "returned", "gone",
        "free" and "clean", None for those not seen in time; samples as [at, free bytes, domain
        state or ""], backlog samples as [at, pages]; and "still", as in `Watch`: the command was
        killed then.
        """

        def over(_: int) -> bool:
            return watch.still is not None or self.clock.now() >= end

        ending = None if argv is None else Ending(self.commands, argv, over)
        running = None if ending is None else ending.running
        watch = self.watch(domid, running, until=until, hang=hang, may_stay_alive=may_stay_alive)
        end = self.clock.now() + timeout
        begun()
        if ending is not None:
            ending.thread.start()
        while self.clock.now() < end and not watch.look():
            time.sleep(SAMPLE_SECONDS)
        ran = None
        if ending is not None:
            ran = ending.wait(5 + (0.0 if watch.still else max(0.0, end - self.clock.now())))
        return watch.seen(ran)

    def watch(self, domid: int, running: Optional[Callable[[], bool]], **how: Any) -> Watch:
        """A watch on a domain in its present state; `how` has further arguments of `Watch`."""
        info = self.xen.domain(domid)
        if info is None:
            raise LookupError("there is no domain {}".format(domid))
        return Watch(
            lambda: self.xen.domain(domid),
            self.xen.free_bytes,
            lambda: sum(self.xen.backlog().values()),
            info=info,
            running=running,
            clock=self.clock,
            others=lambda: self.memory_of_others(domid),
            **how
        )  # fmt: skip


def cpu_model() -> str:
    """Model name of the first CPU; empty if it has none."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.+)", file.read(), re.MULTILINE)
    return "" if found is None else found.group(1).strip()
