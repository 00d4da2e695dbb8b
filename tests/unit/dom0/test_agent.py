# SPDX-License-Identifier: MIT
"""The agent against Xen's bindings faked: what it answers, over real pipes."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import threading
import time
import uuid
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_xenscrub.dom0.sent import commands
from pytest_xenscrub.dom0.sent.agent import PARTS, Agent
from pytest_xenscrub.dom0.sent.cpu_beats import CpuBeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GIB_IN_KIB = 1 << 20
HANDLE = list(range(16))
BANNER = "(XEN) Xen version 4.17.5 (Debian) debug=n\n(XEN) Brought up 2 CPUs\n"


def heap_dump(now: int, **unscrubbed: int) -> str:
    """What debug key H leaves in the log of a machine with two nodes."""
    lines = [f"'H' pressed -> dumping heap info (now = {now})"]
    for node in (0, 1):
        lines += [f"heap[node={node}][zone={zone}] -> {zone * 7} pages" for zone in range(41)]
    lines += [f"Node {node[-1]} has {pages} unscrubbed pages" for node, pages in unscrubbed.items()]
    return "".join(f"(XEN) {line}\n" for line in lines)


def a_domain(domid: int = 5, **changed: Any) -> dict[str, Any]:
    info = {
        "domid": domid,
        "handle": HANDLE,
        "mem_kb": GIB_IN_KIB,
        "dying": 0,
        "shutdown": 0,
        "crashed": 0,
        "paused": 0,
        "cpu_time": 2_500_000_000,
    }
    return {**info, **changed}


class FakeXc:
    """`xen.lowlevel.xc.xc()` of a host with 2 GiB free, where domains live as they are told.

    Attributes:
        looks: what each look at a single domain finds: the domain and what is free, KiB; the last
            one stays.
        backlogs: unscrubbed pages by node, for each press of H; the last one stays.
    """

    def __init__(self) -> None:
        self.ring = BANNER
        self.looks: list[tuple[dict[str, Any] | None, int]] = [(None, 2 * GIB_IN_KIB)]
        self.backlogs: list[dict[str, int]] = [{}]
        self.crashed: list[tuple[int, int]] = []
        self.pinned: list[tuple[int, int, list[int]]] = []
        self.offline = 1
        self.nodes = ""
        self._free_kib = 2 * GIB_IN_KIB

    def xeninfo(self) -> dict[str, Any]:
        return {"xen_major": 4, "xen_minor": 17, "xen_extra": ".5", "xen_commandline": "sched=x"}

    def physinfo(self) -> dict[str, Any]:
        return {
            "total_memory": 4 * GIB_IN_KIB,
            "free_memory": self._free_kib,
            "nr_cpus": 2,
            "nr_nodes": 2,
            "virt_caps": "",
        }

    def numainfo(self) -> dict[str, Any]:
        return {"node_memfree": [512, 256]}

    def topologyinfo(self) -> dict[str, Any]:
        return {"cpu_to_node": [0, 0, None]}

    def buildid(self) -> str:
        return "c0ffee"

    def domain_getinfo(self, first: int, most: int) -> list[dict[str, Any]]:
        if most > 1:
            return [info for info, _ in self.looks if info is not None]
        info, self._free_kib = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if info is None:
            raise OSError(errno.ESRCH, "No such process")
        return [info]

    def readconsolering(self) -> bytes:
        return self.ring.encode()

    def send_debug_keys(self, key: str) -> None:
        if key == "u":
            self.ring += self.nodes
            return
        assert key == "H"
        found = self.backlogs.pop(0) if len(self.backlogs) > 1 else self.backlogs[0]
        self.ring += heap_dump(time.monotonic_ns(), **found)

    def domain_shutdown(self, domid: int, reason: int) -> None:
        self.crashed.append((domid, reason))

    def vcpu_setaffinity(self, domid: int, vcpu: int, cpus: list[int]) -> None:
        if cpus == [self.offline]:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.pinned.append((domid, vcpu, cpus))


class Conversation:
    """Requests to an agent and its answers."""

    def __init__(self, xc: FakeXc) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self._to = os.fdopen(ours[1], "wb", buffering=0)
        self._from = os.fdopen(theirs[0], "rb")
        self._agent_files = os.fdopen(ours[0], "rb"), os.fdopen(theirs[1], "wb")
        agent = Agent(xc, *self._agent_files)
        self._thread = threading.Thread(target=agent.serve)
        self._thread.start()

    def send(self, number: int, op: str, **arguments: Any) -> None:
        line = json.dumps({"id": number, "op": op, **arguments})
        self._to.write(line.encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._from.readline())
        return message

    def ask(self, op: str, **arguments: Any) -> Any:
        self.send(1, op, **arguments)
        message = self.answer()
        assert message["id"] == 1
        return message["ok"]

    def ask_other(self, op: str, **arguments: Any) -> None:
        """Ask something while another request is under way."""
        self.send(2, op, **arguments)
        assert self.answer() == {"id": 2, "ok": {}}

    def end(self) -> None:
        self._to.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.end()
        for file in (*self._agent_files, self._from):
            file.close()


@pytest.fixture
def xc() -> FakeXc:
    return FakeXc()


@pytest.fixture
def agent(xc: FakeXc, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conversation]:
    # Its heartbeat ends its process when nobody listens any more: that is ours here.
    monkeypatch.setattr(Agent, "beat", lambda _: None)
    conversation = Conversation(xc)
    yield conversation
    conversation.close()


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends; a zombie that nobody has reaped yet has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a path
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("module", ["agent", *PARTS])
def test_it_is_plain_python_3_7(module: str) -> None:
    text = (files("pytest_xenscrub.dom0.sent") / f"{module}.py").read_text()
    nodes = list(ast.walk(ast.parse(text, feature_version=(3, 7))))
    generics = [node.value.id for node in nodes if isinstance(node, ast.Subscript)
                and isinstance(node.value, ast.Name)]  # fmt: skip
    assert not {"list", "dict", "set", "tuple", "type"} & set(generics)
    unions = [node.annotation for node in nodes if isinstance(node, (ast.AnnAssign, ast.arg))]
    assert not any(isinstance(annotation, ast.BinOp) for annotation in unions)


# -- what it tells -----------------------------------------------------------------------------


def test_info(agent: Conversation) -> None:
    info = agent.ask("info")
    assert info["xen_minor"] == 17
    assert info["total_bytes"] == 4 << 30
    assert (info["cpus"], info["nodes"], info["build_id"]) == (2, 2, "c0ffee")
    assert info["dom0_kernel"]
    assert isinstance(info["cpu_model"], str)


def test_memory(agent: Conversation) -> None:
    before = time.monotonic()
    memory = agent.ask("memory")
    assert memory["free_bytes"] == 2 << 30
    assert before <= memory["at"] <= time.monotonic()


def test_domains(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [
        (a_domain(0), 0), (a_domain(5, dying=1), 0),
        (a_domain(6, shutdown=1), 0), (a_domain(7, crashed=1), 0),
    ]  # fmt: skip
    dom0, dying, *ended = agent.ask("domains")
    assert [each["runs"] for each in (dom0, dying, *ended)] == [True, False, False, False]
    assert (dom0["domid"], dom0["dying"], dom0["cpu_seconds"]) == (0, False, 2.5)
    assert (dying["domid"], dying["dying"], dying["memory_bytes"]) == (5, True, 1 << 30)
    assert uuid.UUID(dying["uuid"]).bytes == bytes(HANDLE)


def test_backlog_of_each_node(agent: Conversation, xc: FakeXc) -> None:
    xc.backlogs = [{"node0": 1024, "node1": 512}]
    assert agent.ask("backlog")["nodes"] == {"0": 1024, "1": 512}


def test_frames_of_each_node(agent: Conversation, xc: FakeXc) -> None:
    xc.nodes = (
        "(XEN) NODE0 start->0 size->393216 free->1234\n"
        "(XEN) CPU0...1 -> NODE0\n"
        "(XEN) NODE1 start->393216 size->393184 free->5\n"
    )
    assert agent.ask("nodes")["nodes"] == [[0, 0, 393216], [1, 393216, 393184]]


def test_free_memory_of_each_node(agent: Conversation) -> None:
    assert agent.ask("memory_of_nodes") == {"free_mib": [512, 256], "with_cpus": [0]}


def test_a_xen_that_tells_of_no_nodes_is_an_error(agent: Conversation) -> None:
    agent.send(1, "nodes")
    assert "debug key u" in agent.answer()["error"]


def test_no_backlog(agent: Conversation) -> None:
    assert agent.ask("backlog")["nodes"] == {}


def test_each_look_at_the_backlog_is_a_new_one(agent: Conversation, xc: FakeXc) -> None:
    xc.backlogs = [{"node0": 1024}, {"node0": 1024, "node1": 1}, {}]
    seen = [agent.ask("backlog")["nodes"] for _ in range(3)]
    assert seen == [{"0": 1024}, {"0": 1024, "1": 1}, {}]


def test_an_old_dump_in_the_ring_is_not_the_backlog(agent: Conversation, xc: FakeXc) -> None:
    xc.ring += heap_dump(1, node0=77)
    assert agent.ask("backlog")["nodes"] == {}


def test_a_xen_that_does_not_dump_is_an_error(
    agent: Conversation, xc: FakeXc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xc, "send_debug_keys", lambda _: None)
    agent.send(1, "backlog")
    assert "left no heap dump" in agent.answer()["error"]


def test_xen_log_without_our_own_heap_dumps(agent: Conversation, xc: FakeXc) -> None:
    agent.ask("backlog")
    xc.ring += "(XEN) d5 crashed\n"
    agent.ask("backlog")
    assert agent.ask("log", lines=2) == ["(XEN) Brought up 2 CPUs", "(XEN) d5 crashed"]


def test_xen_log_that_the_ring_has_lost(agent: Conversation, xc: FakeXc) -> None:
    agent.ask("log", lines=1)
    xc.ring = "(XEN) much later\n"
    assert agent.ask("log", lines=9)[-2:] == ["(XEN) Brought up 2 CPUs", "(XEN) much later"]


def test_xen_log_from_a_line_on(agent: Conversation, xc: FakeXc) -> None:
    begin = agent.ask("log_from", first=None)
    assert begin["lines"] == []
    agent.ask("backlog")
    xc.ring += "(XEN) d5 crashed\n"
    again = agent.ask("log_from", first=begin["next"])
    assert again == {"lines": ["(XEN) d5 crashed"], "next": begin["next"] + 1}
    assert agent.ask("log_from", first=again["next"])["lines"] == []


def test_xen_log_from_a_line_that_is_long_gone(agent: Conversation, xc: FakeXc) -> None:
    begin = agent.ask("log_from", first=None)["next"]
    xc.ring += "".join(f"(XEN) {number}\n" for number in range(2500))
    lines = agent.ask("log_from", first=begin)["lines"]
    assert (len(lines), lines[-1]) == (2000, "(XEN) 2499")


# -- what it does ------------------------------------------------------------------------------


def test_an_error_is_an_answer(agent: Conversation) -> None:
    agent.send(7, "write", path="/proc/no/such", text="")
    message = agent.answer()
    assert message["id"] == 7
    assert "Error" in message["error"]
    agent.send(8, "no_such_thing")
    assert "AttributeError" in agent.answer()["error"]


def test_write_makes_the_folder(agent: Conversation, tmp_path: Path) -> None:
    agent.ask("write", path=str(tmp_path / "a" / "b"), text="x\n")
    assert (tmp_path / "a" / "b").read_text() == "x\n"


def test_crash(agent: Conversation, xc: FakeXc) -> None:
    agent.ask("crash", domid=5)
    assert xc.crashed == [(5, 3)]


def test_each_vcpu_on_an_online_cpu_of_its_own(agent: Conversation, xc: FakeXc) -> None:
    agent.ask("pin", domid=5, vcpus=2)
    assert xc.pinned == [(5, 0, [0]), (5, 1, [2])]


def test_run(agent: Conversation) -> None:
    before = time.monotonic()
    result = agent.ask("run", argv=["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert (result["returncode"], result["stdout"], result["stderr"]) == (3, "out\n", "err\n")
    assert before <= result["issued"] <= result["returned"] <= time.monotonic()
    assert not result["hung"]


def test_run_of_no_such_program(agent: Conversation) -> None:
    agent.send(1, "run", argv=["xenscrub-no-such-program"], timeout=10)
    assert "FileNotFoundError" in agent.answer()["error"]


def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    agent: Conversation, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > {pids}.new; mv {pids}.new {pids}; wait"
    result = agent.ask("run", argv=["sh", "-c", script], timeout=0.5)
    assert result["hung"]
    assert result["returncode"] == -9
    assert gone(int(pids.read_text()))


def test_what_runs_when_the_connection_ends_is_killed(agent: Conversation, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ > {pids}.new; mv {pids}.new {pids}; exec sleep 60"
    agent.send(1, "run", argv=["sh", "-c", script], timeout=60)
    wait_until(pids.exists)
    agent.end()
    assert gone(int(pids.read_text()))
    assert agent.answer()["ok"]["returncode"] == -9


def test_abort_kills_running_commands(agent: Conversation, tmp_path: Path) -> None:
    started = tmp_path / "started"
    agent.send(1, "run", argv=["sh", "-c", f"touch {started}; exec sleep 60"], timeout=60)
    wait_until(started.exists)
    agent.send(2, "abort")
    answers = {answer["id"]: answer["ok"] for answer in (agent.answer(), agent.answer())}
    assert answers[1]["returncode"] == -9


def test_a_long_request_does_not_hold_up_others(agent: Conversation, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.02; done"
    agent.send(1, "run", argv=["sh", "-c", script], timeout=10)
    agent.send(2, "memory")
    assert agent.answer()["id"] == 2
    go.touch()
    assert agent.answer()["id"] == 1


# -- a domain's end ----------------------------------------------------------------------------

ALIVE, DYING = a_domain(), a_domain(dying=1)
FREE, FREED = 1 * GIB_IN_KIB, 2 * GIB_IN_KIB
DEATH: list[tuple[dict[str, Any] | None, int]] = [
    (ALIVE, FREE),  # found when the watch begins
    (ALIVE, FREE),
    (DYING, FREE),
    (DYING, FREE + FREE // 2),
    (None, FREED - 4),
    (None, FREED),
]


def reclaim(
    agent: Conversation, until: str, argv: list[str] | None = None, timeout: float = 5.0
) -> Any:
    agent.send(1, "reclaim", domid=5, argv=argv, timeout=timeout, until=until)
    assert agent.answer() == {"id": 1, "begun": True}
    return agent.answer()["ok"]


def test_moments_of_a_domain_that_dies(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH]
    xc.backlogs = [{"node0": 500, "node1": 500}, {"node1": 10}, {}]
    end = reclaim(agent, "clean", ["true"])
    assert end["command"]["returncode"] == 0
    assert end["issued"] <= end["returned"]
    assert end["issued"] < end["gone"] < end["free"] < end["clean"]
    assert [state for _, _, state in end["samples"]][:5] == ["alive", "dying", "dying", "", ""]
    assert [free for _, free, _ in end["samples"]][3:5] == [(FREED - 4) * 1024, FREED * 1024]
    assert [pages for _, pages in end["backlog"]][:3] == [1000, 10, 0]
    assert end["backlog"][0][0] <= end["issued"]
    assert end["backlog"][-1] == [end["clean"], 0]
    assert sorted(end["samples"]) == end["samples"]


def test_a_watch_has_begun_before_anything_ends_the_domain(
    agent: Conversation, xc: FakeXc, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    xc.looks = [(ALIVE, FREE)]
    agent.send(1, "reclaim", domid=5, argv=None, timeout=10, until="gone")
    assert agent.answer() == {"id": 1, "begun": True}
    xc.looks = [(None, FREED)]
    assert agent.answer()["ok"]["gone"] is not None
    xc.looks = [*DEATH]
    script = f"until [ -e {go} ]; do sleep 0.01; done"
    agent.send(2, "reclaim", domid=5, argv=["sh", "-c", script], timeout=10, until="gone")
    assert agent.answer() == {"id": 2, "begun": True}
    go.touch()
    assert agent.answer()["ok"]["command"]["returncode"] == 0


def test_until_gone_does_not_wait_for_its_memory(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH[:-1]]
    end = reclaim(agent, "gone", ["true"])
    assert end["gone"] is not None
    assert end["free"] is None
    assert end["clean"] is None


def test_until_free_does_not_wait_for_the_backlog(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH]
    xc.backlogs = [{"node0": 500}]
    end = reclaim(agent, "free", ["true"])
    assert end["gone"] < end["free"]
    assert end["clean"] is None
    assert {pages for _, pages in end["backlog"]} == {500}
    assert end["backlog"][-1][0] <= end["free"]


def test_memory_that_never_comes_back(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH[:-1]]
    before = time.monotonic()
    end = reclaim(agent, "clean", ["true"], timeout=0.3)
    assert 0.3 <= time.monotonic() - before < 5
    assert end["gone"] is not None
    assert end["free"] is None
    assert end["clean"] is None


def test_a_backlog_that_stays(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH]
    xc.backlogs = [{"node0": 3}]
    end = reclaim(agent, "clean", ["true"], timeout=0.3)
    assert end["free"] is not None
    assert end["clean"] is None
    assert {pages for _, pages in end["backlog"]} == {3}


def test_gone_before_the_command_has_returned(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [*DEATH]
    end = reclaim(agent, "free", ["sleep", "0.3"])
    assert end["issued"] < end["gone"] < end["free"] < end["returned"]
    assert end["command"]["returncode"] == 0


def test_a_command_that_fails_is_told_with_what_was_seen(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [(ALIVE, FREE)]
    end = reclaim(agent, "gone", ["sh", "-c", "echo no >&2; exit 1"], timeout=0.3)
    assert (end["command"]["returncode"], end["command"]["stderr"]) == (1, "no\n")
    assert end["gone"] is None


def test_a_command_that_hangs_is_killed_in_time(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [(ALIVE, FREE)]
    before = time.monotonic()
    end = reclaim(agent, "gone", ["sleep", "60"], timeout=0.3)
    assert time.monotonic() - before < 5
    assert end["command"]["hung"]


def test_a_command_that_moves_nothing_is_killed_long_before_its_time(
    agent: Conversation, xc: FakeXc
) -> None:
    xc.looks = [(DYING, FREE)]
    agent.send(1, "reclaim", domid=5, argv=["sleep", "60"], timeout=60, until="gone", hang=0.4)
    assert agent.answer() == {"id": 1, "begun": True}
    end = agent.answer()["ok"]
    assert end["command"]["hung"]
    assert (end["still"]["state"], end["still"]["freed_bytes"]) == ("dying", 0)


def test_what_the_host_was_starved_counts_for_no_hang(agent: Conversation, xc: FakeXc) -> None:
    xc.looks = [(DYING, FREE)]
    agent.send(1, "reclaim", domid=5, argv=None, timeout=60, until="gone", hang=1.0)
    assert agent.answer() == {"id": 1, "begun": True}
    begin = time.monotonic()
    time.sleep(0.3)  # it has begun to look by then
    agent.ask_other("starved", seconds=0.8)
    still = agent.answer()["ok"]["still"]
    assert time.monotonic() - begin > 1.2
    assert still["starved"] == 0.8


@pytest.mark.parametrize("how", ["crashed", "shutdown", "dying"])
def test_a_domain_that_ends_by_itself_ends_when_it_no_longer_runs(
    agent: Conversation, xc: FakeXc, how: str
) -> None:
    ended = a_domain(**{how: 1})
    xc.looks = [(ALIVE, FREE), (ALIVE, FREE), (ALIVE, FREE), (ended, FREE), *DEATH[-2:]]
    end = reclaim(agent, "free")
    assert end["command"] is None
    assert end["returned"] is None
    assert end["issued"] == end["samples"][2][0]
    assert end["issued"] < end["gone"] < end["free"]


def test_another_domain_of_the_same_number_is_not_it(agent: Conversation, xc: FakeXc) -> None:
    after_reboot = a_domain(handle=[*HANDLE[1:], 99])
    xc.looks = [(ALIVE, FREE), (DYING, FREE), (after_reboot, FREED)]
    assert reclaim(agent, "gone")["gone"] is not None


def test_no_such_domain(agent: Conversation) -> None:
    agent.send(1, "reclaim", domid=5, argv=None, timeout=1, until="gone")
    assert "there is no domain 5" in agent.answer()["error"]


def test_an_agent_without_a_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def end(status: int) -> NoReturn:
        assert status == 1
        raise Ended

    def broken(_: object) -> NoReturn:
        raise BrokenPipeError

    monkeypatch.setattr(os, "_exit", end)
    cpus = SimpleNamespace(start=lambda: None, latest=lambda: 0.0)
    fake: Any = SimpleNamespace(say=broken, cpus=cpus)
    with pytest.raises(Ended):
        Agent.beat(fake)


def test_a_cpu_that_is_late_is_told_of_once_and_while_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beats = CpuBeats()
    late: list[float] = []
    clock = iter([10.0, 14.0, 14.5, 15.0, 20.0, 20.1, 20.2])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", lambda _: late.append(beats.latest()))
    beats.sleep(0, 1.0)  # due at 11, and told of at 14; woke at 14.5
    late.append(beats.latest())
    beats.sleep(1, 0.25)  # due at 20.25
    assert late == [3.0, 3.5, 0.0]


def test_each_cpu_has_a_beat_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def sleep(_: CpuBeats, cpu: int, period: float) -> bool:
        seen.append(os.sched_getaffinity(0))
        return not 0 < period < 60

    monkeypatch.setattr(CpuBeats, "sleep", sleep)
    CpuBeats().start()
    wait_until(lambda: len(seen) == len(mine))
    assert sorted(min(cpus) for cpus in seen) == sorted(mine)
    assert all(len(cpus) == 1 for cpus in seen)
    assert os.sched_getaffinity(0) == mine


def test_a_cpu_that_has_just_gone_offline_has_no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    beats = CpuBeats()
    beats._run(0, 0.25)
    assert beats.latest() == 0.0


@pytest.mark.parametrize("stuck", [True, False])
def test_a_command_that_cannot_be_killed_is_left(
    monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    def gone(*_: int) -> NoReturn:
        raise ProcessLookupError

    def wait(seconds: float) -> int:
        assert 0 < seconds <= 10
        if stuck:
            raise subprocess.TimeoutExpired("xl", seconds)
        return -9

    child: Any = SimpleNamespace(pid=1, wait=wait)
    monkeypatch.setattr(os, "killpg", gone)
    commands.kill_group(child)
