# SPDX-License-Identifier: MIT
"""What the agent can do: an operation for each request. Part of the agent.

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
from pytest_xenscrub.dom0.sent.reclaim_watch import SAMPLE_SECONDS, Watch

Facts = Dict[str, Any]

SHUTDOWN_CRASH = 3
SCHEDULER_CREDIT = 5
SCHEDULER_CREDIT2 = 6
MOST_CPUS = 4096

NODE = re.compile(r"NODE(\d+) start->(\d+) size->(\d+)")


class Operations:
    """`do_OP` with a request's arguments gives its answer, which JSON can carry."""

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.xen = Xen(xc)
        self.commands = Commands()
        self.clock = Clock()
        self.calls: Dict[int, Stillness] = {}

    # -- what it tells ------------------------------------------------------------------------

    def do_info(self) -> Facts:
        """What Xen says of itself, and the machine's memory and CPUs."""
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
        """Free memory as Xen counts it: what waits for its scrub is free already."""
        return {"free_bytes": self.xen.free_bytes(), "at": time.monotonic()}

    def do_backlog(self) -> Facts:
        """Pages that are free and not scrubbed yet, per node; empty when there are none."""
        return {"nodes": self.xen.backlog(), "at": time.monotonic()}

    def do_nodes(self) -> Facts:
        """NUMA nodes as [number, first frame, frames], as debug key u tells."""
        nodes = [[int(word) for word in found] for found in NODE.findall(self.xen.dump("u"))]
        if not nodes:
            raise RuntimeError("debug key u left no NUMA nodes in Xen's log")
        return {"nodes": nodes}

    def do_memory_of_nodes(self) -> Facts:
        """Free memory of each NUMA node, by its number (whole MiB), and which ones have CPUs."""
        cpus = {node for node in self.xc.topologyinfo()["cpu_to_node"] if node is not None}
        return {"free_mib": self.xc.numainfo()["node_memfree"], "with_cpus": sorted(cpus)}

    def do_domains(self) -> List[Facts]:
        """Every domain that Xen knows, dying ones too."""
        return [
            {
                "domid": info["domid"],
                "uuid": str(uuid.UUID(bytes=bytes(info["handle"]))),
                "memory_bytes": info["mem_kb"] * 1024,
                "dying": bool(info["dying"]),
                "shutdown": bool(info["shutdown"]),
                "paused": bool(info["paused"]),
                "cpu_seconds": info["cpu_time"] / 1e9,
            }
            for info in self.xc.domain_getinfo(0, 1024)
        ]

    def do_log(self, lines: int) -> List[str]:
        """The last lines of Xen's log, without the heap dumps that we asked for."""
        return self.xen.logged()[1][-lines:]

    def do_log_from(self, first: Optional[int]) -> Facts:
        """The lines of Xen's log from that one on, if any is given, and the next one's number.

        Of very many the last; those of heap dumps are not counted.
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
        """Write a file, with its folder."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return {}

    def do_starved(self, seconds: float) -> Facts:
        """The host was kept from running for so long: no hang is counted from that time."""
        self.clock.starved += seconds
        return {}

    def do_still(self, call: int, hang: float) -> Optional[Facts]:
        """For how long nothing has moved while a daemon does a call; None while something does.

        Args:
            call: names the call; asked again and again while it lasts.
            hang: for how long nothing may move, s.
        """
        stillness = self.calls.setdefault(call, Stillness(self.clock))
        if self.moves(stillness, hang):
            return None
        return self.calls.pop(call).told()

    def do_run(self, argv: Sequence[str], timeout: float, hang: Optional[float] = None) -> Facts:
        """Run a command to its end; killed when its time is over, or when it hangs.

        Args:
            argv: the command.
            timeout: for all of it, s.
            hang: for how long nothing may move while it runs, s; None for as long as it likes.

        Returns what `Commands.run` does, and "still": None, or for how long nothing moved.
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
        """Whether something has moved lately while a toolstack builds, moves or ends a domain."""
        domains = [
            [info["domid"], info["mem_kb"], info["dying"], info["shutdown"], info["crashed"]]
            for info in self.xc.domain_getinfo(0, 1024)
        ]
        stillness.differs("domains", domains)
        stillness.rises("free", self.xen.free_bytes())
        # To look at all processes costs more, and only a move between disks needs it.
        if stillness.seconds() >= hang / 4:
            stillness.rises("io", io_bytes(session))
        return stillness.seconds() < hang

    def do_abort(self) -> Facts:
        """Kill the commands that still run."""
        self.commands.kill()
        return {}

    def do_crash(self, domid: int) -> Facts:
        """Crash a domain from outside, as `SHUTDOWN_crash` from inside would."""
        self.xc.domain_shutdown(domid, SHUTDOWN_CRASH)
        return {}

    def do_pin(self, domid: int, vcpus: int) -> Facts:
        """Bind each vCPU of a domain to a CPU of its own."""
        cpus = iter(range(MOST_CPUS))
        for number in range(vcpus):
            if not any(self.pinned(domid, number, cpu) for cpu in cpus):
                raise LookupError("there are not {} CPUs online".format(vcpus))
        return {}

    def pinned(self, domid: int, vcpu: int, cpu: int) -> bool:
        """Whether a vCPU could be bound to a CPU: to one that is offline it cannot."""
        try:
            self.xc.vcpu_setaffinity(domid, vcpu, [cpu])
        except Exception as error:
            if error.args[:1] == (errno.EINVAL,):
                return False
            raise
        return True

    def do_weigh(self, domid: int, weight: int) -> Facts:
        """Set a domain's weight, where the scheduler has such."""
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
        elsewhere: bool = False,
    ) -> Facts:
        """End a domain and watch its memory come back.

        Args:
            domid: the domain.
            argv: the command that ends it; None where something else does: then "issued" is the
                first look at which the domain no longer ran.
            timeout: when to stop watching, s from now.
            until: when to stop watching: "gone", "free" (its memory is) or "clean" (no backlog).
            begun: called when what the domain has was seen, and before the command is started.
            hang: for how long nothing may move, s; None for as long as it likes.
            elsewhere: as `Watch` has it.

        Returns the command's result under "command", and the moments "issued", "returned",
        "gone", "free" and "clean", None for those not seen in time; samples as
        [at, free bytes, domain state or ""], backlog samples as [at, pages]; and "still", as
        `Watch` has it: the command was killed then.
        """

        def over(_: int) -> bool:
            return watch.still is not None or self.clock.now() >= end

        ending = None if argv is None else Ending(self.commands, argv, over)
        running = None if ending is None else ending.running
        watch = self.watch(domid, running, until=until, hang=hang, elsewhere=elsewhere)
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
        """A watch over a domain as it is now; what `how` says is the watch's own."""
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
    """What the first CPU calls itself; empty where it has no name."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.+)", file.read(), re.MULTILINE)
    return "" if found is None else found.group(1).strip()
