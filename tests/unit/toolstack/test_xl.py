# SPDX-License-Identifier: MIT
"""xl over a faked dom0: what it is told to run, and what its answers are taken for."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast
from uuid import UUID

import pexpect
import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import DomainInfo, TimedResult
from pytest_xenscrub.errors import (
    CommandError,
    DeadlineExceededError,
    InfrastructureError,
    NotApplicableError,
    XenHungError,
)
from pytest_xenscrub.identity import is_of_run, new_uuid
from pytest_xenscrub.toolstack import firmware
from pytest_xenscrub.toolstack.drivers import Drivers
from pytest_xenscrub.toolstack.protocol import DomainConfig, Listed, wants_memory
from pytest_xenscrub.toolstack.xl import _VERSION, Xl, parse_list
from pytest_xenscrub.toolstack.xl_console import XlConsole
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

UUIDS = [UUID(int=number) for number in range(4)]

HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
RECORDED = (
    HEADER
    + """\
Domain-0                                     0   511     2     r-----      12.8
xenscrub-12ab34-victim-1                     1  1023     2     r-----       0.4
(null)                                       2    37     2     --p--d       3.1
Windows Server 2022                         11  8192     4     -b----  123456.7
"""
)


def listed(*names: str) -> str:
    rows = [f"{name} {number} 64 1 r----- 0.1\n" for number, name in enumerate(names)]
    return HEADER + "".join(rows)


class FakeHost:
    name = "lab7"

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.put_files: list[tuple[Path, str]] = []

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> None:
        self.ran.append(list(argv))

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        self.put_files.append((local, remote))

    def ssh_command(self, argv: Sequence[str], *, tty: bool) -> list[str]:
        assert tty
        return ["echo", "in dom0:", *argv]


class FakeDom0:
    """Answers `xl` as it is told, and keeps what was asked.

    Attributes:
        answer: for a command that is no `xl list`: its return code, or an error to raise.
        lists: what `xl list` prints; the last one stays.
    """

    total_bytes = 4 << 30
    hang_seconds = 60.0

    def __init__(self) -> None:
        self.host = FakeHost()
        self.ran: list[str] = []
        self.written: dict[str, str] = {}
        self.answer: Callable[[str], int] = lambda _: 0
        self.complaint = "xl: error"
        self.lists = [RECORDED]
        self.found: list[DomainInfo] = []
        self.aborted = False

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        line = " ".join(argv)
        self.ran.append(line)
        if line == "xl list":
            text = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
            return TimedResult(tuple(argv), 0, text, "", 1.0, 1.1)
        return TimedResult(tuple(argv), self.answer(line), "", self.complaint, 10.0, 11.5)

    def write(self, path: str, text: str) -> None:
        self.written[path] = text

    def domains(self) -> list[DomainInfo]:
        return self.found

    def abort(self) -> None:
        self.aborted = True

    def patience(
        self, step: str, memory_bytes: int = 0, *, seconds: float | None = None
    ) -> Deadline:
        return Deadline.for_xen(60 if seconds is None else seconds, step, lambda: 0.0)

    def evidence(self) -> dict[str, str]:
        return {"Xen's log": "(XEN) last words"}

    def ping(self, deadline: Deadline) -> None:
        pass

    def watch(
        self, domid: int, argv: None, *, until: str, deadline: Deadline, may_stay_alive: bool
    ) -> Any:
        return SimpleNamespace(result=lambda: (domid, argv, until))

    def reclaim(self, domid: int, argv: Sequence[str], *, until: str, deadline: Deadline) -> Any:
        return domid, " ".join(argv), until


@pytest.fixture
def dom0() -> FakeDom0:
    return FakeDom0()


@pytest.fixture
def xl(dom0: FakeDom0) -> Xl:
    return Xl(dom0, "xenscrub-12ab34")  # type: ignore[arg-type]


@pytest.fixture
def config() -> DomainConfig:
    return DomainConfig(
        name="xenscrub-12ab34-victim-1",
        uuid=UUIDS[1],
        command_line='run=0x1 note="a \\ b"',
        memory_bytes=512 * MIB,
        vcpus=2,
    )


def domain(domid: int, uuid: UUID) -> DomainInfo:
    return DomainInfo(domid, uuid, 0, dying=False, runs=True, paused=False,
                      cpu_seconds=0.0)  # fmt: skip


def soon() -> Deadline:
    return Deadline.after(10, "a step")


def test_a_uuid_tells_of_its_run() -> None:
    uuids = {new_uuid("xenscrub-12ab34") for _ in range(50)}
    assert len(uuids) == 50
    assert all(uuid.version == 4 and is_of_run(uuid, "xenscrub-12ab34") for uuid in uuids)
    assert not any(is_of_run(uuid, "xenscrub-12ab35") for uuid in uuids)
    assert not is_of_run(UUID(int=0x12AB34), "xenscrub-12ab34")


# -- xl list -----------------------------------------------------------------------------------


def test_recorded_list() -> None:
    assert parse_list(RECORDED) == [
        Listed("Domain-0", 0, 511 * MIB, 2, "r-----"),
        Listed("xenscrub-12ab34-victim-1", 1, 1023 * MIB, 2, "r-----"),
        Listed("(null)", 2, 37 * MIB, 2, "--p--d"),
        Listed("Windows Server 2022", 11, 8192 * MIB, 4, "-b----"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "libxl: error: cannot open /dev/xen/privcmd\n",
        HEADER + "Domain-0 0 511 2 r-----\n",
        HEADER + "Domain-0 zero 511 2 r----- 12.8\n",
        HEADER + "\n",
    ],
)
def test_what_is_no_list_is_infrastructure(text: str) -> None:
    with pytest.raises(InfrastructureError, match="xl list") as caught:
        parse_list(text)
    assert caught.value.evidence == {"xl list": text}


# -- create ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "packages", "shown"),
    [
        ("/usr/sbin", {"dpkg-query": "4.17.7-1"}, "4.17.7-1"),
        ("/usr/sbin", {"rpm": "4.18-2"}, "4.18-2"),
        ("/usr/sbin", {}, "/usr/sbin/xl"),
        ("/opt/tools/sbin", {"dpkg-query": "4.17.7-1"}, "/opt/tools/sbin/xl"),
    ],
)
def test_the_version_is_the_packages_or_the_file(
    tmp_path: Path, where: str, packages: dict[str, str], shown: str
) -> None:
    for name, says in packages.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    script = _VERSION.replace("$(command -v xl)", f"{where}/xl")
    sh = shutil.which("sh")
    assert sh is not None
    done = subprocess.run(
        [sh, "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == shown


def test_the_version_is_asked_for_once(xl: Xl, dom0: FakeDom0) -> None:
    assert xl.version == xl.version == ""
    assert len(dom0.ran) == 1


def test_create_writes_a_config_and_finds_the_domain(
    xl: Xl, dom0: FakeDom0, config: DomainConfig
) -> None:
    dom0.found = [domain(0, UUIDS[0]), domain(7, UUIDS[1])]
    created = xl.create(config, deadline=soon())
    (path,) = dom0.written
    assert dom0.ran == [f"xl create {path}"]
    assert (created.domid, created.seconds) == (7, 1.5)
    assert dom0.written[path].splitlines() == [
        'type = "pv"',
        'name = "xenscrub-12ab34-victim-1"',
        f'uuid = "{UUIDS[1]}"',
        'kernel = "/run/xenscrub-12ab34/kernel.elf"',
        r'extra = "run=0x1 note=\"a \\ b\""',
        "memory = 512",
        "vcpus = 2",
        'on_crash = "destroy"',
    ]


def test_an_hvm_domain_has_our_kernel_as_its_firmware(
    xl: Xl, dom0: FakeDom0, config: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware, "firmware", lambda kernel: b"32 bits of " + kernel)
    copied: list[tuple[bytes, str]] = []
    monkeypatch.setattr(
        dom0.host, "put", lambda local, to, deadline: copied.append((local.read_bytes(), to))
    )
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"ELF")
    xl.install(kernel)
    hvm = dataclasses.replace(config, type="hvm")
    dom0.written.clear()
    xl.create_command(hvm)
    xl.create_command(hvm)
    folder = "/run/xenscrub-12ab34"
    at = f"{folder}/firmware.elf"
    assert copied == [(b"ELF", f"{folder}/kernel.elf"), (b"32 bits of ELF", at)]
    module, path = dom0.written
    assert dom0.written[module] == f"{config.command_line}\0"
    lines = dom0.written[path].splitlines()
    assert {'type = "hvm"', f'firmware_override = "{at}"', 'vga = "none"'} <= set(lines)
    assert f'bios_path_override = "{module}"' in lines
    assert not [line for line in lines if line.startswith(("kernel", "extra", "disk", "vif"))]


def test_a_domain_of_one_numa_node(xl: Xl, dom0: FakeDom0, config: DomainConfig) -> None:
    xl.create_command(dataclasses.replace(config, node=1))
    (path,) = dom0.written
    assert 'cpus = "node:1"' in dom0.written[path].splitlines()


def test_a_domain_whose_memory_map_shows_more_than_it_has(
    xl: Xl, dom0: FakeDom0, config: DomainConfig
) -> None:
    pvh = dataclasses.replace(
        config, type="pvh", maximum_bytes=2 * config.memory_bytes, pool_bytes=64 * MIB
    )
    xl.create_command(pvh)
    (path,) = dom0.written
    lines = dom0.written[path].splitlines()
    assert {"memory = 512", "maxmem = 1024", "shadow_memory = 64"} <= set(lines)


def test_what_is_set_aside_for_page_tables(config: DomainConfig) -> None:
    assert config.set_aside_bytes == 0
    pvh = dataclasses.replace(config, type="pvh")
    promised = dataclasses.replace(pvh, maximum_bytes=2 * config.memory_bytes)
    assert (pvh.promised_bytes, promised.promised_bytes) == (0, config.memory_bytes)
    assert promised.set_aside_bytes > pvh.set_aside_bytes > 0
    assert dataclasses.replace(promised, pool_bytes=64 * MIB).set_aside_bytes == 64 * MIB


def test_a_domain_that_never_runs(xl: Xl, dom0: FakeDom0, config: DomainConfig) -> None:
    dom0.found = [domain(7, UUIDS[1])]
    xl.create(dataclasses.replace(config, paused=True), deadline=soon())
    (path,) = dom0.written
    assert dom0.ran == [f"xl create -p {path}"]


def test_claims_are_set_for_one_create_only(xl: Xl, config: DomainConfig) -> None:
    plain = xl.create_command(config)
    unclaimed = dataclasses.replace(config, claim=False)
    *wrapped, script, own, claim_mode = xl.create_command(unclaimed)[: -len(plain)]
    assert wrapped == ["unshare", "-m", "sh", "-c"]
    assert "mount --bind" in script
    assert (own, claim_mode) == ("/run/xenscrub-12ab34/xl.conf", "0")
    assert xl.create_command(unclaimed)[-len(plain) :] == plain
    assert xl.create_command(config) == plain


def test_a_create_that_is_refused(xl: Xl, dom0: FakeDom0, config: DomainConfig) -> None:
    dom0.answer = lambda _: 1
    with pytest.raises(CommandError, match="xl create") as caught:
        xl.create(config, deadline=soon())
    assert "xl: error" in str(caught.value)


def test_a_domain_that_xl_created_and_xen_does_not_know(
    xl: Xl, dom0: FakeDom0, config: DomainConfig
) -> None:
    with pytest.raises(InfrastructureError, match="xl list does not show it") as caught:
        xl.create(config, deadline=soon())
    assert "last words" in str(caught.value)


def test_the_kernel_is_put_into_the_runs_own_folder(xl: Xl, dom0: FakeDom0, tmp_path: Path) -> None:
    xl.install(tmp_path / "kernel")
    assert "/run/xenscrub-12ab34/owner" in dom0.written
    assert dom0.host.put_files == [(tmp_path / "kernel", "/run/xenscrub-12ab34/kernel.elf")]


# -- ends --------------------------------------------------------------------------------------


def test_a_destroy_is_watched(xl: Xl) -> None:
    watched: Any = xl.destroy(5, until="free", deadline=soon())
    assert watched == (5, "xl destroy 5", "free")


def test_pause_shutdown_and_reboot(xl: Xl, dom0: FakeDom0) -> None:
    xl.pause(4, soon())
    xl.shutdown(5, soon())
    xl.reboot(6, soon())
    assert dom0.ran == ["xl pause 4", "xl shutdown 5", "xl reboot 6"]


# -- to another domain -------------------------------------------------------------------------

SAVED = "/var/lib/xen/xenscrub-12ab34/victim"


def test_a_save_is_watched_and_its_file_goes_with_the_restore(xl: Xl, dom0: FakeDom0) -> None:
    watched: Any = xl.save(5, "victim", until="clean", deadline=soon())
    assert watched == (5, None, "clean")
    xl.restore("victim", soon())
    assert dom0.ran == [
        "sh -c mkdir -p /var/lib/xen/xenscrub-12ab34",
        f"xl save 5 {SAVED}",
        f"xl restore {SAVED}",
        f"sh -c rm -f {SAVED}",
    ]


def test_a_checkpoint_leaves_no_file(xl: Xl, dom0: FakeDom0) -> None:
    xl.checkpoint(5, "victim", soon())
    assert dom0.ran[-2:] == [f"xl save -c 5 {SAVED}", f"sh -c rm -f {SAVED}"]


def test_saved_guests_are_removed_with_all_else(xl: Xl, dom0: FakeDom0) -> None:
    dom0.lists = [listed("Domain-0")]
    xl.close()
    assert any(" /var/lib/xen/xenscrub-12ab34 " in line for line in dom0.ran if "rm -rf" in line)


def test_a_migration_needs_no_ssh(xl: Xl, dom0: FakeDom0) -> None:
    watched: Any = xl.migrate(5, until="gone", deadline=soon())
    assert watched == (5, None, "gone")
    assert dom0.ran == ["xl migrate -s  5 xl migrate-receive"]


@pytest.mark.parametrize(
    ("complaint", "error"),
    [
        ("xc: error: Failed to enable logdirty: 95,22,0", NotApplicableError),
        ("libxl: error: something else", CommandError),
    ],
)
def test_a_xen_that_cannot_migrate_is_told_from_one_that_fails(
    xl: Xl, dom0: FakeDom0, complaint: str, error: type[Exception]
) -> None:
    dom0.answer = lambda _: 1
    dom0.complaint = complaint
    with pytest.raises(error):
        xl.migrate(5, until="gone", deadline=soon())


# -- close -------------------------------------------------------------------------------------


def test_close_destroys_this_runs_guests_only(xl: Xl, dom0: FakeDom0) -> None:
    names = [
        "Domain-0",
        "xenscrub-12ab34-victim-1",
        "xenscrub-999999-victim-1",  # another run's
        "xenscrub-12ab345-probe-2",  # another run's, whose tag begins as ours does
        "(null)",
        "xenscrub-12ab34-probe-2",
    ]
    dom0.lists = [listed(*names), listed("Domain-0")]
    dom0.found = [domain(number, UUID(int=number)) for number in range(len(names))]
    xl.close()
    assert [line for line in dom0.ran if "destroy" in line] == ["xl destroy 1", "xl destroy 5"]
    assert any("rm -rf /run/xenscrub-12ab34 " in line for line in dom0.ran)


def test_a_guest_that_ended_in_between_is_no_error(xl: Xl, dom0: FakeDom0) -> None:
    dom0.lists = [listed("Domain-0", "xenscrub-12ab34-victim-1"), listed("Domain-0")]
    dom0.found = [domain(0, UUID(int=0)), domain(1, UUID(int=1))]
    dom0.answer = lambda line: 1 if "destroy" in line else 0
    xl.close()


def test_a_guest_that_is_left_is_named(xl: Xl, dom0: FakeDom0) -> None:
    dom0.lists = [listed("Domain-0", "xenscrub-12ab34-victim-1")]
    dom0.found = [domain(0, UUID(int=0)), domain(1, UUID(int=1))]
    with pytest.raises(InfrastructureError, match="are left: xenscrub-12ab34-victim-1") as caught:
        xl.close()
    assert "xl destroy" in caught.value.todo


def test_a_destroy_that_hangs_ends_the_clean_up(xl: Xl, dom0: FakeDom0) -> None:
    dom0.lists = [listed("Domain-0", "xenscrub-12ab34-a-1", "xenscrub-12ab34-b-2")]
    dom0.found = [domain(0, UUID(int=0)), domain(1, UUID(int=1)), domain(2, UUID(int=2))]

    def hang(_: str) -> int:
        raise dom0.patience("xl destroy").error()

    dom0.answer = hang
    with pytest.raises(XenHungError):
        xl.clean()
    assert dom0.ran == ["xl list", "xl destroy 1"]


def test_where_xen_has_no_new_domain_xl_is_not_asked(
    xl: Xl, dom0: FakeDom0, tmp_path: Path
) -> None:
    dom0.found = [domain(0, UUID(int=0)), domain(3, UUID(int=3))]
    xl.install(tmp_path / "kernel")
    xl.clean()
    assert dom0.ran == []


def test_a_guest_that_has_no_name_is_known_by_its_uuid(xl: Xl, dom0: FakeDom0) -> None:
    others = UUID("78736362-1111-4111-9111-111111000001")
    dom0.found = [domain(5, new_uuid("xenscrub-12ab34")), domain(6, others)]
    dom0.lists = [listed("Domain-0")]

    def end(_: str) -> int:
        dom0.found = [domain(6, others)]
        return 0

    dom0.answer = end
    xl.clean()
    assert dom0.aborted
    assert [line for line in dom0.ran if line != "xl list"] == ["xl destroy 5"]


# -- its console -------------------------------------------------------------------------------


def test_console_runs_xl_in_a_terminal_of_dom0s(xl: Xl) -> None:
    console = xl.console(5)
    assert read_all(console) == b"in dom0: xl console -t pv 5\r\n"
    console.close()
    console.close()


def test_a_console_that_says_nothing_is_empty_and_not_ended() -> None:
    console = XlConsole(["cat"])
    assert console.read(0.01) == b""
    console.write(b"fill\n")
    assert console.read(5) == b"fill\r\n"
    console.close()


def test_a_guest_whose_output_is_not_read_can_go_on(tmp_path: Path) -> None:
    """Its terminal is emptied all the same: ssh's master waits for it, and all others for ssh's."""
    said = 4 << 20
    end = tmp_path / "end"
    console = XlConsole(["sh", "-c", f"head -c {said} /dev/zero | tr '\\0' x; touch {end}"])
    deadline = Deadline.after(20, "all that it has to say")
    while not end.exists():
        deadline.check()
        time.sleep(0.01)
    assert read_all(console) == b"x" * said
    console.close()


@pytest.mark.parametrize("command", ["cat", "yes"])
def test_a_closed_console_leaves_no_thread(command: str) -> None:
    threads = threading.active_count()
    console = XlConsole([command])
    assert threading.active_count() == threads + 1
    console.close()
    assert threading.active_count() == threads


def read_all(console: XlConsole) -> bytes:
    data = b""
    while True:
        try:
            data += console.read(5)
        except EOFError:
            return data


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("libxl: error: failed to free memory for the domain", True),
        ("xc_dom_boot_mem_init: can't allocate low memory for domain: Out of memory", True),
        ("xc: error: Could not allocate memory for HVM guest as we cannot claim memory!", True),
        ("libxl: error: domain creation fail: Cannot allocate memory", True),
        ("libxl: error: cannot open /run/x.log: No space left on device", False),
        ("xc: error: xc_dom_boot_domU_map: unable to map guest memory space", False),
        ("libxl: error: fork failed: Cannot allocate memory", False),
        ("xc: error: Could not bounce memory for XENMEM hypercall: Cannot allocate memory", False),
    ],
)
def test_only_a_guest_that_is_refused_for_want_of_memory_wants_memory(
    said: str, wanted: bool
) -> None:
    error = CommandError("xl create: returned 1", evidence={"stderr": said})
    assert wants_memory(error) == wanted


def test_a_log_of_xens_that_mentions_memory_is_no_refusal_for_want_of_it() -> None:
    log = "(XEN) failed to free memory for the domain\n(XEN) Scrubbing Free RAM"
    evidence = {"stderr": "No space left on device", "Xen's log": log}
    assert not wants_memory(CommandError("xl create: returned 1", evidence=evidence))


@pytest.mark.parametrize("seen", [True, False])
def test_a_guest_that_does_not_leave_in_time_is_told_with_how_far_it_had_come(
    xl: Xl, dom0: FakeDom0, seen: bool
) -> None:
    toolstack_says, dom0_says = XenHungError("xl destroy"), XenHungError("1 GiB of it is left")

    def raising(error: XenHungError) -> Callable[[], NoReturn]:
        def call() -> NoReturn:
            raise error

        return call

    watch = SimpleNamespace(done=seen, result=raising(dom0_says))
    dom0.watch = lambda *_, **__: watch  # type: ignore[method-assign]
    with pytest.raises(XenHungError) as caught:
        xl._leaving(5, raising(toolstack_says), until="gone", deadline=soon())
    assert caught.value is (dom0_says if seen else toolstack_says)


def test_a_clean_up_that_hangs_is_xens(
    xl: Xl, dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0.found = [domain(0, UUID(int=0)), domain(1, UUID(int=1))]

    def hangs(_: object, *, deadline: Deadline) -> NoReturn:
        raise dataclasses.replace(deadline, end=0.0, hard_end=0.0).error()

    monkeypatch.setattr(dom0, "run", hangs)
    with pytest.raises(XenHungError, match="removing this run's guests"):
        xl.clean()


def test_a_console_is_never_waited_for_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    read: Any = pexpect.spawn.read_nonblocking

    def note(child: object, size: int, timeout: float | None) -> Any:
        limits.append(timeout)
        if len(limits) == 1:
            raise pexpect.TIMEOUT("nothing yet")
        return read(child, size, timeout)

    monkeypatch.setattr(pexpect.spawn, "read_nonblocking", note)
    console = XlConsole(["echo", "ready"])
    assert read_all(console) == b"ready\r\n"
    assert {*limits} == {0}
    assert console._child.timeout is None
    console.close()


def test_files_in_dom0_are_no_wait_for_xen(
    xl: Xl, dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lets_it_pass(*_: object, deadline: Deadline) -> NoReturn:
        raise dataclasses.replace(deadline, end=0.0).error()

    monkeypatch.setattr(dom0.host, "put", lets_it_pass)
    with pytest.raises(DeadlineExceededError, match="copying the guest kernel"):
        xl.install(tmp_path / "kernel")


def test_what_a_toolstack_cannot_remove_at_the_end_is_left_to_the_next_run(
    dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def left() -> NoReturn:
        closed.append("left")
        raise InfrastructureError("guests of this run are left")

    drivers = Drivers("xenscrub-12ab34", cast("Path", "kernel"))
    alive: Any = SimpleNamespace(alive=True)
    made: Any = {"xl": SimpleNamespace(close=left), "libvirt": SimpleNamespace(close=left)}
    drivers._dom0, drivers._made = alive, made
    drivers.close()
    assert closed == ["left", "left"]
    assert drivers._made == {}
