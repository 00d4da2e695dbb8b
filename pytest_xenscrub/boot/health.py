# SPDX-License-Identifier: MIT
"""Checks whether a run could use a lab machine, step by step; changes nothing on the machine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_xenscrub.boot.command_boot import MARK, marked
from pytest_xenscrub.boot.grub_dom0 import Grub
from pytest_xenscrub.boot.leftovers import find_leftovers, others_guests
from pytest_xenscrub.boot.login import check_login
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.lock import describe
from pytest_xenscrub.dom0.lock_look import look
from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.errors import InfrastructureError, XenScrubError
from pytest_xenscrub.host.power import PowerSwitch, SerialLog
from pytest_xenscrub.units import MIB, gib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.protocol import Host

    Found = tuple["State", str, str]

State = Literal["good", "note", "bad"]
STEP_SECONDS: Final = 60.0
"""Limit of each step, s; the power command and the serial log have their own."""
LEAST_FREE_BYTES: Final = 256 * MIB
"""Free memory below which few scenarios have room for their guests."""
_LEAST_ROOM = 8 * MIB
_FOLDERS = ("/boot", "/run", "/var/lib", "/var/log")
_DOM0_FEATURE = 1 << 11
"""XENFEAT_dom0, in the kernel's list of Xen's features."""
_NOT_XEN = "boot the machine with Xen; its boot loader must choose Xen by default"
_SLOW = "see what keeps the machine busy, or hangs there"
_INSTALL = "install Xen's tools in dom0 (Debian: xen-utils), of the release of the Xen that runs"


@dataclass(frozen=True)
class Finding:
    """The result of one step.

    Attributes:
        check: the step's name.
        state: `bad` if runs cannot use the machine; `note` if some runs cannot, or not always.
        seen: what was seen.
        todo: what to do about it; empty for a good one.
    """

    check: str
    state: State
    seen: str
    todo: str = ""


def examine(host: Host, described: HostDescription) -> Iterator[Finding]:
    """Check a machine: its dom0, and its power and serial commands. No error ends this early."""
    login = _step("login", host, _login)
    yield login
    if login.state != "bad":
        yield from _examine_dom0(host, described)
    address = "" if described.target is None else described.target.host
    yield _step("power", host, lambda *_: _power(described, address))
    yield _step("serial", host, lambda *_: _serial(described, address))


def _step(check: str, host: Host, seen: Callable[[Host, Deadline], Found]) -> Finding:
    """One step, whose error is a finding."""
    deadline = Deadline.after(STEP_SECONDS, f"{host.name}: {check}")
    try:
        return Finding(check, *seen(host, deadline))
    except XenScrubError as error:
        what = error.what.removeprefix(f"{host.name}: ")
        shown = error.evidence.get("output") or error.evidence.get("stderr") or ""
        last = shown.strip().splitlines()[-1:]
        told = [line for line in last if line not in what]
        by_hand = f"try it by hand: {error.tried}" if error.tried else _SLOW
        todo = error.todo or by_hand
        return Finding(check, "bad", ": ".join([what, *told]), todo)


def _examine_dom0(host: Host, described: HostDescription) -> Iterator[Finding]:
    facts: dict[str, Any] = {}

    def read(host: Host, deadline: Deadline) -> Found:
        facts.update(_facts(host, deadline))
        return _dom0(facts)

    yield _step("dom0", host, read)
    info: dict[str, str] = {}
    yield _step("xl", host, lambda host, deadline: _xl(host, deadline, info))
    if info:
        yield _step("memory", host, lambda *_: _memory(info))
    if facts:
        yield _step("bindings", host, lambda *_: _bindings(facts["bindings"]))
        yield _step("disk", host, lambda *_: _disk(facts["folders"]))
    in_use: list[bool] = []
    yield _step("lock", host, lambda host, deadline: _lock(host, deadline, in_use))
    if info:
        yield _step("guests", host, _guests)
        if in_use == [False]:
            yield _step(
                "leftovers", host, lambda host, deadline: _leftovers(host, deadline, described)
            )
    yield _step("boot", host, lambda host, deadline: _boot(host, deadline, described))


def _login(host: Host, deadline: Deadline) -> Found:
    check_login(host, deadline)
    return "good", "root, with a plain shell and Python", ""


def _facts(host: Host, deadline: Deadline) -> dict[str, Any]:
    done = run_program(host, "health", *_FOLDERS, deadline=deadline, parts=("bindings",))
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        raise InfrastructureError(
            "dom0's Python ran no program",
            tried="python3, over ssh",
            todo="see what python3 says in dom0",
            evidence={"stderr": done.stderr[-1000:]},
        ) from None


def _dom0(facts: dict[str, Any]) -> Found:
    """Whether Linux says that it is dom0; a kernel that has no /proc/xen lists Xen's features."""
    if facts["type"] != "xen":
        return "bad", "this Linux does not run on Xen", _NOT_XEN
    features = re.fullmatch(r"[0-9a-f]+", facts["features"])
    listed = bool(features and int(features[0][-8:], 16) & _DOM0_FEATURE)
    if listed or "control_d" in facts["capabilities"]:
        return "good", "this Linux is Xen's dom0", ""
    if not features and not facts["capabilities"]:
        return "note", "the kernel does not tell whether it is dom0", "mount /proc/xen (xenfs)"
    return "bad", "this Linux is a guest of a Xen, not its dom0", "give dom0's address"


def _xl(host: Host, deadline: Deadline, info: dict[str, str]) -> Found:
    done = host.run(["xl", "info"], deadline=deadline, check=False)
    if done.returncode != 0:
        last = "".join(done.stderr.strip().splitlines()[-1:]) or "no message"
        return "bad", f"xl info returned {done.returncode}: {last}", _INSTALL
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    info.update((name.strip(), value.strip()) for name, colon, value in pairs if colon)
    if not (version := info.get("xen_version")):
        return "bad", "xl info does not tell Xen's version", _INSTALL
    return "good", f"xl works, Xen {version}", ""


def _memory(info: dict[str, str]) -> Found:
    try:
        free, total = (int(info[name]) * MIB for name in ("free_memory", "total_memory"))
    except (KeyError, ValueError):
        return "bad", "xl info does not tell free and total memory", _INSTALL
    seen = f"{gib(free)} free of {gib(total)}"
    if free >= LEAST_FREE_BYTES:
        return "good", seen, ""
    todo = "give dom0 a fixed size (dom0_mem=4G,max:4G among Xen's options), end other guests"
    return "bad", f"{seen}; guests need {gib(LEAST_FREE_BYTES)} at least", todo


def _bindings(error: str) -> Found:
    if error:
        return "bad", f"dom0's Python cannot ask Xen: {error}", _INSTALL
    return "good", "dom0's Python can ask Xen", ""


def _disk(folders: dict[str, int]) -> Found:
    for folder, room in folders.items():
        if room == -1:
            return "bad", f"{folder} cannot be written", f"mount {folder} to be written to"
        if room == -2:  # noqa: PLR2004 - as health.py tells it
            return "bad", f"there is no {folder}", f"make or mount {folder}"
        if room < _LEAST_ROOM:
            return "bad", f"{folder} has {gib(room)} left", f"make room there (df -h {folder})"
    folder, room = min(folders.items(), key=lambda pair: pair[1])
    return "good", f"{gib(room)} or more in {', '.join(folders)}", ""


def _lock(host: Host, deadline: Deadline, in_use: list[bool]) -> Found:
    """A machine that a run uses is a good one; but what is there may be that run's."""
    state = look(host, deadline)
    in_use.append(state.in_use)
    if state.in_use:
        return "good", f"in use by {describe(state.who)}", ""
    if state.who:
        todo = "nothing: the next run takes it over"
        return "note", f"free; left by a run that is dead, {describe(state.who)}", todo
    return "good", "free", ""


def _guests(host: Host, deadline: Deadline) -> Found:
    if others := others_guests(host, deadline):
        todo = "end them, or let runs share the machine with --xen-allow-busy"
        return "bad", f"guests that are not ours: {', '.join(others)}", todo
    return "good", "none of others", ""


def _leftovers(host: Host, deadline: Deadline, described: HostDescription) -> Found:
    left = find_leftovers(host, deadline)
    if described.boot and marked(host, deadline):
        left.append(MARK)
    if left:
        return "note", f"a dead run's: {', '.join(left)}", "nothing: the next run removes them"
    return "good", "none of dead runs", ""


def _boot(host: Host, deadline: Deadline, described: HostDescription) -> Found:
    """Whether a built Xen could be booted once; a run of the machine's own Xen does without."""
    if described.boot:
        return "good", f"by the command {described.boot[0]}", ""
    try:
        grub = Grub(host, deadline)
        grub.check_free("")
        entry = grub.running_entry()
    except XenScrubError as error:
        todo = error.todo or "only --xen-variant=as-is can be used without"
        return "note", error.what.removeprefix(f"{host.name} "), todo
    return "good", f"GRUB boots a Xen once ({grub.config}, as {entry.files_path})", ""


def _power(described: HostDescription, address: str) -> Found:
    if not described.power:
        return "note", "not set: a machine that hangs stays so", "set power in the hosts file"
    said = PowerSwitch(described.power, described.label, address).run("status").split("\n")[0]
    return "good", f"status: {said.strip() or 'the command ended well'}", ""


def _serial(described: HostDescription, address: str) -> Found:
    if not described.serial:
        return "note", "not set: a crash of Xen's cannot be told", "set serial in the hosts file"
    lines = SerialLog(described.serial, described.label, address).read().splitlines()
    of_xen = sum(line.startswith("(XEN)") for line in lines)
    seen = f"{len(lines)} lines, {of_xen} of Xen's"
    if of_xen:
        return "good", seen, ""
    return "note", seen, "let Xen log there: console=com1 com1=115200,8n1 among its options"
