# SPDX-License-Identifier: MIT
"""The agent: runs in dom0 under its own Python, answers one JSON line per request.

It is sent over the SSH connection, with its part `watch`, and lives as long as that does; nothing
is installed in dom0.
Times are dom0's monotonic clock in seconds, so that no network latency is in any of them.
Memory is read through Xen's own Python bindings (`xen.lowlevel.xc`): 0.1 ms a look, where an
`xl` process takes 150 ms under emulation and would disturb what it watches.

Request:  {"id": 7, "op": "run", ...}
Answer:   {"id": 7, "ok": {...}}  or  {"id": 7, "error": "..."}
Before:   {"id": 7, "begun": true}, from what watches: what is to be watched may happen now
Unasked:  {"beat": monotonic seconds, "late": seconds that dom0 overslept}

Plain Python 3.7, because dom0 may be older than the machine that runs the tests: no `X | Y`,
`list[int]` or `:=` here.
"""

import errno
import glob
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from typing import IO, Any, Callable, Dict, List, Optional, Sequence, Set

from pytest_xenscrub.dom0.watch import SAMPLE_SECONDS, Watch

Facts = Dict[str, Any]

BEAT_SECONDS = 0.25
SHUTDOWN_CRASH = 3
SCHEDULER_CREDIT = 5
SCHEDULER_CREDIT2 = 6
MOST_CPUS = 4096

HEAP_DUMP = re.compile(r"'H' pressed|heap\[node=|Node \d+ has \d+ unscrubbed")
NODE = re.compile(r"NODE(\d+) start->(\d+) size->(\d+)")
UNSCRUBBED = re.compile(r"Node (\d+) has (\d+) unscrubbed pages")


def load_bindings() -> Any:
    """Xen's control library, wherever this dom0's tools put its Python bindings."""
    # At the end: tools that were built for this Xen come first, by PYTHONPATH.
    sys.path += glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
    import xen.lowlevel.xc  # type: ignore[import-not-found]

    return xen.lowlevel.xc.xc()


def cpu_model() -> str:
    """What the first CPU calls itself; empty where it has no name."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.+)", file.read(), re.MULTILINE)
    return "" if found is None else found.group(1).strip()


class XenLog:
    """Xen's console ring, read without clearing it: other readers lose nothing.

    The ring is small and each heap dump fills some of it, so every read moves what is new, heap
    dumps left out, into a list of our own.
    """

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.lines: List[str] = []
        self.count = 0
        self.tail = ""

    def update(self) -> str:
        """The ring's text that had not been seen before."""
        ring = self.xc.readconsolering()
        text: str = ring.decode(errors="replace") if isinstance(ring, bytes) else ring
        at = text.rfind(self.tail) if self.tail else -1
        new = text[at + len(self.tail) :] if at >= 0 else text
        # Longer than a heap dump, so that it holds the time in its first line: the rest repeats.
        self.tail = text[-4000:]
        fresh = [line for line in new.splitlines() if line.strip() and not HEAP_DUMP.search(line)]
        self.lines = (self.lines + fresh)[-2000:]
        self.count += len(fresh)
        return new


class Agent:
    """Requests in on stdin, answers out on stdout; each request has a thread of its own."""

    def __init__(self, xc: Any, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.xc = xc
        self.stdin = stdin
        self.stdout = stdout
        self.write_lock = threading.Lock()
        self.xen_lock = threading.Lock()  # debug key and ring belong together
        self.log = XenLog(xc)
        self.children: Set["subprocess.Popen[bytes]"] = set()

    # -- the line protocol ------------------------------------------------------------------

    def say(self, message: Facts) -> None:
        line = (json.dumps(message) + "\n").encode()
        with self.write_lock:
            self.stdout.write(line)
            self.stdout.flush()

    def beat(self) -> None:
        """A heartbeat, for as long as somebody listens: a silent or late one is a stalled dom0."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                self.say({"beat": now, "late": max(0.0, now - due)})
            except OSError:
                os._exit(1)
            due = now + BEAT_SECONDS
            time.sleep(BEAT_SECONDS)

    def answer(self, request: Facts) -> None:
        number, op = request.pop("id"), request.pop("op")
        reply: Facts = {"id": number}
        if op == "reclaim":
            request["begun"] = lambda: self.say({"id": number, "begun": True})
        try:
            reply["ok"] = getattr(self, "do_" + op)(**request)
        except Exception as error:
            reply["error"] = "{}: {}".format(type(error).__name__, error)
        self.say(reply)

    def serve(self) -> None:
        threading.Thread(target=self.beat, daemon=True).start()
        for line in self.stdin:
            request = json.loads(line)
            threading.Thread(target=self.answer, args=(request,), daemon=True).start()
        for child in list(self.children):
            kill_group(child)

    # -- what it can do -----------------------------------------------------------------------

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
        return {"free_bytes": self.free_bytes(), "at": time.monotonic()}

    def do_backlog(self) -> Facts:
        """Pages that are free and not scrubbed yet, per node; empty when there are none."""
        return {"nodes": self.backlog(), "at": time.monotonic()}

    def do_nodes(self) -> Facts:
        """NUMA nodes as [number, first frame, frames], as debug key u tells."""
        with self.xen_lock:
            self.log.update()
            self.xc.send_debug_keys("u")
            dump = self.log.update()
        nodes = [[int(word) for word in found] for found in NODE.findall(dump)]
        if not nodes:
            raise RuntimeError("debug key u left no NUMA nodes in Xen's log")
        return {"nodes": nodes}

    def do_memory_of_nodes(self) -> Facts:
        """Free memory of each NUMA node, by its number; whole MiB, as Xen's bindings tell."""
        return {"free_mib": self.xc.numainfo()["node_memfree"]}

    def do_domains(self) -> List[Facts]:
        """Every domain that Xen knows, dying ones too."""
        return [
            {
                "domid": info["domid"],
                "uuid": str(uuid.UUID(bytes=bytes(info["handle"]))),
                "memory_bytes": info["mem_kb"] * 1024,
                "dying": bool(info["dying"]),
                "shutdown": bool(info["shutdown"]),
                "shutdown_reason": info["shutdown_reason"],
                "paused": bool(info["paused"]),
                "cpu_seconds": info["cpu_time"] / 1e9,
            }
            for info in self.xc.domain_getinfo(0, 1024)
        ]

    def do_log(self, lines: int) -> List[str]:
        """The last lines of Xen's log, without the heap dumps that we asked for."""
        with self.xen_lock:
            self.log.update()
        return self.log.lines[-lines:]

    def do_log_from(self, first: Optional[int]) -> Facts:
        """The lines of Xen's log from that one on, if any is given, and the next one's number.

        Of very many the last; those of heap dumps are not counted.
        """
        with self.xen_lock:
            self.log.update()
            count, lines = self.log.count, self.log.lines
        new = 0 if first is None else min(count - first, len(lines))
        return {"lines": lines[len(lines) - new :], "next": count}

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

    def do_run(self, argv: Sequence[str], timeout: float) -> Facts:
        """Run a command to its end; the group it made is killed when its time is over."""
        issued = time.monotonic()
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.children.add(child)
        try:
            out, err = child.communicate(timeout=timeout)
            hung = False
        except subprocess.TimeoutExpired:
            kill_group(child)
            for pipe in (child.stdout, child.stderr):
                assert pipe is not None  # noqa: S101 - Popen was told to make them
                pipe.close()
            out, err = b"", b""
            hung = True
        finally:
            self.children.discard(child)
        return {
            "returncode": child.returncode,
            "stdout": out.decode(errors="replace"),
            "stderr": err.decode(errors="replace"),
            "issued": issued,
            "returned": time.monotonic(),
            "hung": hung,
        }

    def do_abort(self) -> Facts:
        """Kill the commands that still run."""
        for child in list(self.children):
            kill_group(child)
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

    def do_reclaim(
        self,
        domid: int,
        argv: Optional[Sequence[str]],
        timeout: float,
        until: str,
        begun: Callable[[], None],
    ) -> Facts:
        """End a domain and watch its memory come back.

        Args:
            domid: the domain.
            argv: the command that ends it; None where something else does: then "issued" is the
                first look at which the domain no longer ran.
            timeout: when to stop watching, s from now.
            until: when to stop watching: "gone", "free" (its memory is) or "clean" (no backlog).
            begun: called when what the domain has was seen, and before the command is started.

        Returns the command's result under "command", and the moments "issued", "returned",
        "gone", "free" and "clean", None for those not seen in time; samples as
        [at, free bytes, domain state or ""], backlog samples as [at, pages].
        """
        info = self.domain(domid)
        if info is None:
            raise LookupError("there is no domain {}".format(domid))
        result: Facts = {}
        worker = None
        if argv is not None:
            words = argv

            def command() -> None:
                result["command"] = self.do_run(words, timeout)

            worker = threading.Thread(target=command, daemon=True)
        watch = Watch(
            lambda: self.domain(domid),
            self.free_bytes,
            lambda: sum(self.backlog().values()),
            info=info,
            running=None if worker is None else worker.is_alive,
            until=until,
        )
        end = watch.issued + timeout
        begun()
        if worker is not None:
            worker.start()
        while time.monotonic() < end and not watch.look():
            time.sleep(SAMPLE_SECONDS)
        if worker is not None:
            worker.join(max(0.0, end - time.monotonic()) + 5)
        ran = result.setdefault("command", None)
        if ran is not None:
            watch.moments.update(issued=ran["issued"], returned=ran["returned"])
        result.update(watch.moments, samples=watch.samples, backlog=watch.backlog)
        return result

    # -- looking at Xen -----------------------------------------------------------------------

    def free_bytes(self) -> int:
        return int(self.xc.physinfo()["free_memory"]) * 1024

    def domain(self, domid: int) -> Optional[Facts]:
        try:
            found: List[Facts] = self.xc.domain_getinfo(domid, 1)
        except Exception as error:
            if error.args[:1] == (errno.ESRCH,):
                return None  # the bindings' word for: no domain from this number on
            raise
        return found[0] if found and found[0]["domid"] == domid else None

    def backlog(self) -> Dict[str, int]:
        """The only view of the backlog that Xen gives: the heap dump of debug key H."""
        with self.xen_lock:
            self.log.update()
            self.xc.send_debug_keys("H")
            dump = self.log.update()
        start = dump.rfind("'H' pressed")
        if start < 0:
            raise RuntimeError("debug key H left no heap dump in Xen's log")
        return {node: int(pages) for node, pages in UNSCRUBBED.findall(dump[start:])}


def kill_group(child: "subprocess.Popen[bytes]") -> None:
    """End a command and all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        pass  # stuck in a hypercall: not even SIGKILL helps before that returns


def main() -> None:
    """Serve until the connection closes."""
    try:
        xc = load_bindings()
    except Exception as error:
        sys.stdout.write(json.dumps({"fatal": "{}: {}".format(type(error).__name__, error)}) + "\n")
        return
    Agent(xc, sys.stdin.buffer, sys.stdout.buffer).serve()


if __name__ == "__main__":
    main()
