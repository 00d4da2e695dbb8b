# SPDX-License-Identifier: MIT
"""libvirt's real library with its own test driver, and the errors that real hosts gave."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock
from uuid import UUID
from xml.etree import ElementTree

import libvirt
import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import DomainInfo, Reclaim, TimedResult
from pytest_xenscrub.errors import (
    CommandError,
    ConfigurationError,
    DeadlineExceededError,
    HostStalledError,
    InfrastructureError,
    MissingToolError,
    NotApplicableError,
    XenHungError,
)
from pytest_xenscrub.toolstack.inbox import Inbox
from pytest_xenscrub.toolstack.libvirt import (
    LibvirtRun,
    api,
    connection,
    driver,
    missing_library,
)
from pytest_xenscrub.toolstack.libvirt.connection import Keeper, LibvirtConnection
from pytest_xenscrub.toolstack.libvirt.console import LibvirtConsole
from pytest_xenscrub.toolstack.libvirt.diagnosis import DAEMON_LOG, why_not
from pytest_xenscrub.toolstack.libvirt.transport import Daemon, Transport
from pytest_xenscrub.toolstack.libvirt.xml import domain_xml
from pytest_xenscrub.toolstack.protocol import DomainConfig
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_xenscrub.toolstack.libvirt.driver import Libvirt

TAG = "xenscrub-12ab34"
CONFIG = DomainConfig(
    name=f"{TAG}-victim-1",
    uuid=UUID(int=7),
    command_line='run=0x1 note="a < b & c"',
    memory_bytes=512 * MIB,
    vcpus=2,
    on_crash="preserve",
)


class FakeHost:
    name = "root@lab7:2222"

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.put_files: list[tuple[Path, str]] = []
        self.ssh = ["sh", "-c", "echo 'ssh: no route' >&2; exit 255"]

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> None:
        self.ran.append(list(argv))

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        self.put_files.append((local, remote))

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return self.ssh


class FakeDom0:
    """Attributes: `dead` is what a look at its heartbeat finds; `printed` what commands print."""

    total_bytes = 4 << 30
    hang_seconds = 60.0

    def __init__(self) -> None:
        self.host = FakeHost()
        self.ran: list[str] = []
        self.dead = False
        self.printed = ""
        self.watched: list[tuple[object, ...]] = []
        self.found: list[DomainInfo] = []
        self.written: dict[str, str] = {}

    def write(self, path: str, text: str) -> None:
        self.written[path] = text

    def domains(self) -> list[DomainInfo]:
        return self.found

    def abort(self) -> None: ...

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        self.ran.append(" ".join(argv))
        return TimedResult(tuple(argv), 0, self.printed, "", 1.0, 1.1)

    def check_alive(self, step: str) -> None:
        if self.dead:
            raise HostStalledError(f"dom0 stopped responding, during: {step}")

    def patience(
        self, step: str, memory_bytes: int = 0, *, seconds: float | None = None
    ) -> Deadline:
        return Deadline.for_xen(60 if seconds is None else seconds, step, lambda: 0.0)

    def evidence(self) -> dict[str, str]:
        return {"Xen's log": "(XEN) last words"}

    def watch(
        self, domid: int, argv: None, *, until: str, deadline: Deadline, may_stay_alive: bool
    ) -> Any:
        self.watched.append((domid, argv, until))
        seen = Reclaim(
            issued=99.0, returned=None, gone=11.5, free=11.6, clean=12.0,
            command=None, samples=[(10.0, 0, "alive")], backlog=[],
        )  # fmt: skip
        return SimpleNamespace(result=lambda: seen)


@pytest.fixture
def dom0() -> FakeDom0:
    return FakeDom0()


def soon() -> Deadline:
    return Deadline.after(10, "a step")


def error_of(code: int, domain: int, message: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, "%s", message, None, -1, -1)
    return error


# -- a domain's XML ----------------------------------------------------------------------------


def test_a_domain_of_one_numa_node_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="chosen NUMA node"):
        domain_xml(dataclasses.replace(CONFIG, node=1), "/run/x/kernel.elf")


def test_a_domain_whose_memory_is_to_be_claimed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot claim"):
        domain_xml(dataclasses.replace(CONFIG, claim=True), "/run/x/kernel.elf")
    unclaimed = dataclasses.replace(CONFIG, claim=False)
    assert domain_xml(unclaimed, "/kernel") == domain_xml(CONFIG, "/kernel")


def test_a_domain_whose_paging_pool_has_a_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="paging pool"):
        domain_xml(dataclasses.replace(CONFIG, pool_bytes=64 * MIB), "/run/x/kernel.elf")


def test_a_domain_whose_memory_is_populated_on_demand() -> None:
    config = dataclasses.replace(CONFIG, type="pvh", maximum_bytes=2 * CONFIG.memory_bytes)
    domain = ElementTree.fromstring(domain_xml(config, "/k"))  # noqa: S314
    assert domain.findtext("memory") == str(1024 * MIB)
    assert domain.findtext("currentMemory") == str(512 * MIB)


def test_xml_of_a_domain() -> None:
    domain = ElementTree.fromstring(domain_xml(CONFIG, "/run/x/kernel.elf"))  # noqa: S314
    assert domain.attrib == {"type": "xen"}
    assert {e.tag: e.text for e in domain if e.text} == {
        "name": CONFIG.name,
        "uuid": str(CONFIG.uuid),
        "memory": str(512 * MIB),
        "vcpu": "2",
        "on_poweroff": "destroy",
        "on_reboot": "restart",
        "on_crash": "preserve",
    }
    memory, kind, console = (domain.find(p) for p in ("memory", "os/type", "devices/console"))
    assert memory is not None
    assert memory.attrib == {"unit": "bytes"}
    assert kind is not None
    assert (kind.text, kind.attrib) == ("linux", {"arch": "x86_64", "machine": "xenpv"})
    pvh = dataclasses.replace(CONFIG, type="pvh")
    kind = ElementTree.fromstring(domain_xml(pvh, "/k")).find("os/type")  # noqa: S314
    assert kind is not None
    assert (kind.text, kind.attrib) == ("xenpvh", {"arch": "x86_64", "machine": "xenpvh"})
    assert domain.findtext("os/kernel") == "/run/x/kernel.elf"
    assert domain.findtext("os/cmdline") == CONFIG.command_line
    assert console is not None
    assert console.attrib == {"type": "pty"}


# -- errors ------------------------------------------------------------------------------------

NO_DRIVER = (5, 0, "no connection driver available for xen:///system")
EOF = (38, 7, "End of file while reading data: : Input/output error")
REFUSED = (1, 41, "internal error: libxenlight failed to create new domain 'victim'")


def test_an_error_carries_code_domain_and_message() -> None:
    error = api.as_ours(error_of(*REFUSED), "creating victim", {"libxl's log": "no kernel"})
    assert error.what == f"creating victim: {REFUSED[2]}"
    assert error.evidence == {
        "libvirt": f"code 1 (VIR_ERR_INTERNAL_ERROR), domain 41 (VIR_FROM_LIBXL): {REFUSED[2]}",
        "libxl's log": "no kernel",
    }


def test_an_error_that_this_library_has_no_name_for() -> None:
    assert api.facts_of(error_of(9999, 9998, "new")) == (
        "code 9999 (unknown), domain 9998 (unknown): new"
    )


SOCKET = "/run/libvirt/libvirt-sock"


@pytest.mark.parametrize(
    ("daemon", "error", "what", "todo"),
    [
        (None, EOF, "over ssh cannot be made", "python3"),
        (Daemon([], False, "", ""), EOF, "there is no libvirtd", "libvirt-daemon-system"),
        (Daemon(["libvirtd"], True, "", ""), EOF, "does not run", "systemctl start libvirtd"),
        (Daemon(["virtxend"], True, "", ""), EOF, "does not run", "systemctl start virtxend"),
        (
            Daemon(["libvirtd"], True, "", f"{SOCKET}: Permission denied"), EOF,
            "may not be used", "root",
        ),
        (Daemon(["libvirtd"], False, SOCKET, ""), NO_DRIVER, "no Xen driver", "driver-xen"),
        (Daemon(["libvirtd"], True, SOCKET, ""), NO_DRIVER, "did not start", "CPU model"),
        (Daemon(["libvirtd"], True, SOCKET, ""), EOF, "cannot be used: End of file", "virsh"),
    ],
)  # fmt: skip
def test_why_libvirt_cannot_be_used(
    daemon: Daemon | None, error: tuple[int, int, str], what: str, todo: str
) -> None:
    found = why_not(daemon, error_of(*error))
    assert what in found[0]
    assert todo in found[1]


def test_without_libvirts_library_only_asking_for_it_fails() -> None:
    program = """
import sys
sys.modules["libvirt"] = None
import pytest_xenscrub.plugin, pytest_xenscrub.fixtures_host, pytest_xenscrub.fixtures_guests
from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.toolstack.libvirt import LibvirtRun
run = LibvirtRun("tag")
run.close()
try:
    run.toolstack(None)
except MissingToolError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "cannot be loaded" in done.stdout
    assert "pip install 'pytest-xenscrub[libvirt]'" in done.stdout
    assert "apt-get install python3-libvirt" in done.stdout
    assert MissingToolError.__name__ not in done.stderr


# -- calls with an end -------------------------------------------------------------------------


def test_a_call_that_hangs_is_given_up(dom0: FakeDom0) -> None:
    never = threading.Event()
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        api.call(dom0, Deadline.after(0.1, "a step"), never.wait)  # type: ignore[arg-type]
    assert "last words" in str(caught.value)
    never.set()


def test_a_dead_dom0_is_not_waited_for(dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_WAIT_SECONDS", 0.05)
    dom0.dead = True
    never = threading.Event()
    begin = time.monotonic()
    with pytest.raises(HostStalledError):
        api.call(dom0, Deadline.after(60, "a step"), never.wait)  # type: ignore[arg-type]
    assert time.monotonic() - begin < 10
    never.set()


# -- the way there -----------------------------------------------------------------------------


@pytest.fixture
def transport(dom0: FakeDom0) -> Iterator[Transport]:
    made = Transport(dom0.host, TAG)  # type: ignore[arg-type]
    yield made
    made.close()
    made.close()


def program_of(transport: Transport) -> str:
    return transport.uri.partition("?command=")[2]


def test_libvirt_is_given_the_hosts_own_way(transport: Transport) -> None:
    assert transport.uri.startswith("xen+ssh://root@lab7:2222/system?command=/")
    done = subprocess.run(
        [program_of(transport), "-T", "--", "lab7", "sh -c 'which virt-ssh-helper'"],
        check=False, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (255, b"", b"")
    assert transport.complaints == "ssh: no route"
    assert transport.daemon is None


def test_what_the_relay_tells(transport: Transport) -> None:
    log = transport._told
    daemon = {"daemons": ["libvirtd"], "driver": True, "socket": SOCKET, "error": ""}
    timing = {"call": "destroy", "domain": "a", "issued": 1.0, "returned": 2.5}
    log.write_text(f"motd\n{json.dumps(daemon)}\n{json.dumps(timing)}\n" + '{"half": ')
    assert transport.daemon == Daemon(["libvirtd"], True, SOCKET, "")
    assert transport.complaints == "motd"
    took = transport.timing("destroy", "a", soon())
    assert (took.issued, took.returned) == (1.0, 2.5)
    with pytest.raises(InfrastructureError, match="b: the relay in dom0 did not tell"):
        transport.timing("destroy", "b", Deadline.after(0.05, "x"))


def test_a_kill_ends_what_libvirt_started(transport: Transport, dom0: FakeDom0) -> None:
    transport.kill()  # nothing was started yet
    dom0.host.ssh = ["sleep", "60"]
    hanging = Transport(dom0.host, TAG)  # type: ignore[arg-type]
    with subprocess.Popen([program_of(hanging)]) as child:
        while not hanging._pid.exists() or not hanging._pid.read_text().strip():
            time.sleep(0.01)
        hanging.kill()
        assert child.wait(10) == -9
    hanging.close()


# -- a connection ------------------------------------------------------------------------------


@pytest.fixture
def mock_hypervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The mock hypervisor of libvirt's own library, in place of Xen."""
    init = Transport.__init__
    node = tmp_path / "node.xml"
    # With a domain 1 of its own, as Xen has dom0; unlike `default`, each connection has its own.
    node.write_text(
        "<node><domain type='test'><name>Domain-0</name><memory>8192</memory>"
        "<os><type>hvm</type></os></domain></node>"
    )

    def as_test(self: Transport, *args: Any) -> None:
        init(self, *args)
        self.uri = f"test://{node}"

    monkeypatch.setattr(Transport, "__init__", as_test)
    monkeypatch.setattr(
        driver,
        "domain_xml",
        lambda config, _: (
            f"<domain type='test'><name>{config.name}</name><uuid>{config.uuid}</uuid>"
            f"<memory unit='bytes'>{config.memory_bytes}</memory><vcpu>{config.vcpus}</vcpu>"
            "<os><type>hvm</type></os></domain>"
        ),
    )


@pytest.fixture
def pretends_to_be_xen(monkeypatch: pytest.MonkeyPatch, mock_hypervisor: None) -> None:
    monkeypatch.setattr(libvirt.virConnect, "getType", lambda _: "Xen")
    # Only a connection over a network has these.
    monkeypatch.setattr(libvirt.virConnect, "setKeepAlive", lambda *_: 0)
    monkeypatch.setattr(libvirt.virConnect, "registerCloseCallback", lambda *_: 0)
    monkeypatch.setattr(libvirt.virConnect, "unregisterCloseCallback", lambda *_: 0)


@pytest.mark.usefixtures("mock_hypervisor")
def test_the_wrong_driver_is_named(dom0: FakeDom0) -> None:
    with pytest.raises(InfrastructureError, match="its TEST driver, not with Xen's") as caught:
        LibvirtConnection(dom0, TAG)  # type: ignore[arg-type]
    assert "libvirt-daemon-driver-xen" in caught.value.todo


def test_a_connection_that_cannot_be_made(dom0: FakeDom0) -> None:
    dom0.printed = "error : Driver state initialization failed"
    with pytest.raises(InfrastructureError, match="over ssh cannot be made") as caught:
        LibvirtConnection(dom0, TAG)  # type: ignore[arg-type]
    shown = str(caught.value)
    assert "tried: xen+ssh://root@lab7:2222/system" in shown
    assert "(VIR_FROM_RPC)" in shown
    assert "ssh: no route" in shown
    assert "Driver state initialization failed" in shown


@pytest.mark.usefixtures("pretends_to_be_xen")
def test_a_connection_is_kept_until_it_is_stale(dom0: FakeDom0) -> None:
    keeper = Keeper(TAG)
    first = keeper.get(dom0)  # type: ignore[arg-type]
    assert keeper.get(dom0) is first  # type: ignore[arg-type]
    after_reset = keeper.get(FakeDom0())  # type: ignore[arg-type]
    assert after_reset is not first
    assert not first.alive
    never = threading.Event()
    with pytest.raises(DeadlineExceededError):
        after_reset.call(Deadline.after(0.05, "a step"), never.wait)
    never.set()
    assert keeper.get(after_reset.dom0) is not after_reset
    keeper.close()
    keeper.close()


@pytest.mark.usefixtures("pretends_to_be_xen")
def test_a_daemon_that_hangs_is_known_until_its_dom0_is_another(
    dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(TAG)
    dom0s: list[Any] = [dom0, FakeDom0(), FakeDom0()]
    hung, other, last = dom0s
    assert not keeper.hangs(None)
    held = keeper.get(hung)
    assert not keeper.hangs(hung)
    never = threading.Event()
    with pytest.raises(DeadlineExceededError):
        held.call(Deadline.after(0.05, "a step"), never.wait)
    never.set()
    assert keeper.hangs(hung)
    keeper.get(other)
    assert not keeper.hangs(other)
    keeper.close()

    def hang(_: LibvirtConnection) -> NoReturn:
        raise DeadlineExceededError("connecting to libvirt: not done after 60 s")

    monkeypatch.setattr(LibvirtConnection, "_open", hang)
    with pytest.raises(DeadlineExceededError):
        keeper.get(last)
    assert keeper.hangs(last)
    assert not keeper.hangs(other)


# -- the driver --------------------------------------------------------------------------------


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def timing(_: Transport, call: str, domain: str, deadline: Deadline) -> object:
        asked.append((call, domain))
        return SimpleNamespace(issued=10.0, returned=11.25)

    monkeypatch.setattr(Transport, "timing", timing)
    return asked


@pytest.fixture
def virt(
    dom0: FakeDom0, pretends_to_be_xen: None, timed: list[tuple[str, str]]
) -> Iterator[Libvirt]:
    run = LibvirtRun(TAG)
    yield run.toolstack(dom0)  # type: ignore[arg-type]
    run.close()


def test_create_list_destroy(virt: Libvirt, dom0: FakeDom0, timed: list[tuple[str, str]]) -> None:
    created = virt.create(CONFIG, deadline=soon())
    assert created.seconds == 1.25
    (found,) = [d for d in virt.list(soon()) if d.name == CONFIG.name]
    assert (found.domid, found.memory_bytes, found.vcpus) == (created.domid, 512 * MIB, 2)
    assert found.state == "r-----"
    reclaim = virt.destroy(created.domid, until="free", deadline=soon())
    assert dom0.watched == [(created.domid, None, "free")]
    assert (reclaim.issued, reclaim.returned, reclaim.free) == (10.0, 11.25, 11.6)
    assert reclaim.command is not None
    assert reclaim.command.seconds == 1.25
    assert (reclaim.command.client_seconds or 0) > 0
    assert timed == [("create", CONFIG.name), ("destroy", CONFIG.name)]
    assert CONFIG.name not in [d.name for d in virt.list(soon())]


def test_a_pause(virt: Libvirt) -> None:
    created = virt.create(CONFIG, deadline=soon())
    virt.pause(created.domid, soon())
    (found,) = [d for d in virt.list(soon()) if d.name == CONFIG.name]
    assert found.state == "--p---"


def test_a_saved_domain_goes_on(virt: Libvirt, dom0: FakeDom0, tmp_path: Path) -> None:
    virt.saved = str(tmp_path)
    created = virt.create(CONFIG, deadline=soon())
    virt.save(created.domid, "victim", until="clean", deadline=soon())
    assert dom0.watched == [(created.domid, None, "clean")]
    assert CONFIG.name not in [d.name for d in virt.list(soon())]
    virt.restore("victim", soon())
    assert CONFIG.name in [d.name for d in virt.list(soon())]
    assert dom0.ran[-1] == f"sh -c rm -f {tmp_path}/victim"


def test_what_libvirt_cannot_do_is_a_reason_to_skip(virt: Libvirt) -> None:
    with pytest.raises(NotApplicableError):
        virt.checkpoint(1, "victim", soon())
    with pytest.raises(NotApplicableError):
        virt.migrate(1, until="gone", deadline=soon())


def test_a_domain_that_never_runs(virt: Libvirt) -> None:
    """Libvirt's test driver cannot do that, and says by it what it was asked for."""
    with pytest.raises(CommandError) as caught:
        virt.create(dataclasses.replace(CONFIG, paused=True), deadline=soon())
    assert f"flags ({libvirt.VIR_DOMAIN_START_PAUSED:#x})" in str(caught.value)


def test_what_is_refused_carries_libvirts_words(virt: Libvirt, dom0: FakeDom0) -> None:
    dom0.printed = "libxl: cannot (re-)build domain: -3"
    virt.create(CONFIG, deadline=soon())
    with pytest.raises(CommandError) as caught:
        virt.create(CONFIG, deadline=soon())
    assert "VIR_ERR_OPERATION_INVALID" in caught.value.evidence["libvirt"]
    assert "cannot (re-)build" in caught.value.evidence["libxl's log"]


def in_xen(domid: int, *, dying: bool = False) -> DomainInfo:
    return DomainInfo(domid, CONFIG.uuid, 0, dying=dying, runs=not dying,
                      paused=False, cpu_seconds=0.0)  # fmt: skip


def test_no_such_domain(virt: Libvirt, dom0: FakeDom0) -> None:
    dom0.found = [in_xen(1), in_xen(4711, dying=True)]
    with pytest.raises(CommandError, match="a step") as caught:
        virt.destroy(4711, until="free", deadline=soon())
    assert "VIR_ERR_NO_DOMAIN" in str(caught.value)


def test_a_domain_that_libvirt_still_builds_is_waited_for(virt: Libvirt, dom0: FakeDom0) -> None:
    """As after a reboot, when Xen has the new domain and libvirt not yet."""
    domid = max(d.domid for d in virt.list(soon())) + 1
    dom0.found = [in_xen(domid)]
    timer = threading.Timer(0.3, virt.create, [CONFIG], {"deadline": soon()})
    timer.start()
    found = virt._connection.find(domid, soon())
    timer.join()
    assert found.name() == CONFIG.name


def test_a_reboot_and_a_shutdown(virt: Libvirt) -> None:
    created = virt.create(CONFIG, deadline=soon())
    virt.reboot(created.domid, soon())
    virt.shutdown(created.domid, soon())
    virt._connection.lifecycle.wait_stopped(created.domid, soon())


def test_close_destroys_this_runs_guests_only(virt: Libvirt, dom0: FakeDom0) -> None:
    other = DomainConfig("xenscrub-12ab345-x-1", UUID(int=8), "", 8 * MIB, 1)
    virt.create(CONFIG, deadline=soon())
    virt.create(other, deadline=soon())
    dom0.found = [in_xen(4711)]
    virt.close()
    names = [d.name for d in virt.list(soon())]
    assert CONFIG.name not in names
    assert other.name in names
    assert any(f"rm -rf /run/{TAG} " in line for line in dom0.ran)


def test_a_guest_that_is_left_is_named(
    virt: Libvirt, dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    virt.create(CONFIG, deadline=soon())
    dom0.found = [in_xen(4711)]

    def refuse(_: object) -> int:
        raise error_of(*REFUSED)

    monkeypatch.setattr(libvirt.virDomain, "destroy", refuse)
    with pytest.raises(InfrastructureError, match=f"are left: {CONFIG.name}") as caught:
        virt.close()
    assert "virsh" in caught.value.todo


def test_the_kernel_is_put_into_the_runs_own_folder(
    virt: Libvirt, dom0: FakeDom0, tmp_path: Path
) -> None:
    virt.install(tmp_path / "kernel")
    assert f"/run/{TAG}/owner" in dom0.written
    assert dom0.host.put_files == [(tmp_path / "kernel", f"/run/{TAG}/kernel.elf")]


# -- a console ---------------------------------------------------------------------------------


class FakeStream:
    """Attributes: `pieces` is what it gives, -2 and errors as libvirt gives them."""

    def __init__(self) -> None:
        self.pieces: list[bytes | int | Exception] = []
        self.sent = b""
        self.most = 3
        self.aborted = False
        self.callback: Callable[..., None] | None = None

    def eventAddCallback(  # noqa: N802 - libvirt's
        self, _events: int, callback: Callable[..., None], _: object
    ) -> None:
        self.callback = callback

    def eventRemoveCallback(self) -> None:  # noqa: N802 - libvirt's
        self.callback = None

    def recv(self, _size: int) -> bytes | int:
        piece = self.pieces.pop(0) if self.pieces else -2
        if isinstance(piece, Exception):
            raise piece
        return piece

    def send(self, data: bytes) -> int:
        self.sent += data[: self.most]
        return min(self.most, len(data)) or -2

    def abort(self) -> None:
        self.aborted = True

    def ready(self, *pieces: bytes | int | Exception) -> None:
        self.pieces += pieces
        assert self.callback is not None
        self.callback(self, libvirt.VIR_STREAM_EVENT_READABLE, None)


class FakeConnection:
    alive = True

    def __init__(self, dom0: FakeDom0, stream: FakeStream) -> None:
        self.dom0 = dom0
        self.virt = SimpleNamespace(newStream=lambda _flags: stream)

    def call(self, deadline: Deadline, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


@pytest.fixture
def console(dom0: FakeDom0, stream: FakeStream) -> LibvirtConsole:
    opened: list[Any] = []
    domain = SimpleNamespace(openConsole=lambda *args: opened.append(args))
    made = LibvirtConsole(FakeConnection(dom0, stream), domain, soon())  # type: ignore[arg-type]
    assert opened == [(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)]
    return made


def test_a_console_gives_what_came_until_it_ends(
    console: LibvirtConsole, stream: FakeStream
) -> None:
    assert console.read(0) == b""
    stream.ready(b"hello\r\n", b"ready\r\n", -2)
    assert (console.read(1), console.read(1), console.read(0.01)) == (
        b"hello\r\n", b"ready\r\n", b"",
    )  # fmt: skip
    stream.ready(b"bye\r\n", b"")
    assert console.read(1) == b"bye\r\n"
    for _ in range(2):
        with pytest.raises(EOFError):
            console.read(1)
    assert stream.callback is None


def test_a_console_whose_connection_breaks(console: LibvirtConsole, stream: FakeStream) -> None:
    stream.ready(error_of(*EOF))
    with pytest.raises(EOFError):
        console.read(1)


def test_typing(console: LibvirtConsole, stream: FakeStream) -> None:
    console.write(b"reboot\n")
    assert stream.sent == b"reboot\n"


def test_a_console_that_takes_nothing(
    console: LibvirtConsole, stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeDom0, "hang_seconds", 0.05)
    stream.most = 0
    with pytest.raises(XenHungError, match="typing"):
        console.write(b"reboot\n")


def test_closing_a_console(console: LibvirtConsole, stream: FakeStream) -> None:
    console.close()
    console.close()
    assert stream.aborted
    assert stream.callback is None


def test_constants_of_the_connection_fit_its_keep_alive() -> None:
    assert connection._KEEP_ALIVE_SECONDS * (connection._KEEP_ALIVE_COUNT + 1) <= 20


def test_a_console_that_does_not_open_is_xens(dom0: FakeDom0) -> None:
    def lets_it_pass(_: int, deadline: Deadline) -> NoReturn:
        raise dataclasses.replace(deadline, end=0.0, hard_end=0.0).error()

    fake: Any = SimpleNamespace(dom0=dom0, _connection=SimpleNamespace(find=lets_it_pass))
    with pytest.raises(XenHungError, match="opening the console of domain 5"):
        driver.Libvirt.console(fake, 5)


def test_a_library_that_is_missing_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    assert "libvirt" in missing_library()


# -- what cannot be closed, or told ----------------------------------------------------------------

GONE = error_of(38, 7, "the connection is gone")


def gone(*_: object) -> NoReturn:
    raise GONE


@pytest.mark.parametrize("error", [GONE, KeyboardInterrupt()])
def test_a_connection_that_is_not_had_leaves_nothing(
    dom0: FakeDom0, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: LibvirtConnection) -> NoReturn:
        raise error

    ended: list[str] = []
    monkeypatch.setattr(LibvirtConnection, "_open", refuse)
    monkeypatch.setattr(Transport, "kill", lambda _: ended.append("kill"))
    close = Transport.close

    def note(transport: Transport) -> None:
        ended.append("close")
        close(transport)

    monkeypatch.setattr(Transport, "close", note)
    with pytest.raises(type(error)) as caught:
        LibvirtConnection(dom0, TAG)  # type: ignore[arg-type]
    assert caught.value is error
    assert ended == ["kill", "close"]


def test_a_goodbye_that_libvirt_refuses_is_said_to_the_end() -> None:
    closed: list[bool] = []
    virt = SimpleNamespace(
        unregisterCloseCallback=gone, domainEventDeregisterAny=gone,
        close=lambda: closed.append(True),
    )  # fmt: skip
    fake: Any = SimpleNamespace(virt=virt, _events=3)
    LibvirtConnection._say_goodbye(fake)
    assert closed == [True]
    assert fake._events is None


def test_logs_and_goodbyes_are_no_waits_for_xen(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[Deadline] = []

    def note(*arguments: object, **named: object) -> NoReturn:
        found = [each for each in (*arguments, *named.values()) if isinstance(each, Deadline)]
        deadlines.append(found[0])
        raise ZeroDivisionError

    monkeypatch.setattr(api, "call", note)
    nothing: Any = MagicMock()
    fake: Any = SimpleNamespace(
        dom0=SimpleNamespace(run=note), alive=True, lifecycle=nothing, transport=nothing,
        _say_goodbye=None,
    )  # fmt: skip
    assert LibvirtConnection._printed(fake, DAEMON_LOG) == ""
    LibvirtConnection.close(fake)
    console: Any = SimpleNamespace(_inbox=SimpleNamespace(ended=False), _connection=fake)
    fake.alive = True
    console._let_go = None
    LibvirtConsole.close(console)
    assert [deadline.blames_xen for deadline in deadlines] == [False] * 3


def test_a_console_whose_stream_is_gone_has_ended() -> None:
    inbox = Inbox()
    aborted: list[bool] = []
    stream: Any = SimpleNamespace(
        recv=gone, eventRemoveCallback=gone, abort=lambda: aborted.append(True)
    )
    fake: Any = SimpleNamespace(_inbox=inbox, _stream=stream)
    LibvirtConsole._ready(fake, stream, 0, None)
    with pytest.raises(EOFError):
        inbox.read(0)
    LibvirtConsole._let_go(fake)
    assert aborted == [True]


def test_a_domain_that_ends_while_it_is_listed_is_left_out() -> None:
    there = SimpleNamespace(info=lambda: (1, 0, 1024, 2, 0), name=lambda: "probe-2", ID=lambda: 7)
    virt: Any = SimpleNamespace(listAllDomains=lambda _: [SimpleNamespace(info=gone), there])
    assert [domain.name for domain in driver._list(virt)] == ["probe-2"]


@pytest.mark.parametrize("call", ["create", "destroy"])
def test_the_relays_word_is_no_wait_for_xen(dom0: FakeDom0, call: str) -> None:
    def timing(_call: str, _domain: str, deadline: Deadline) -> NoReturn:
        raise dataclasses.replace(deadline, end=0.0).error()

    connection: Any = MagicMock()
    connection.transport.timing = timing
    keeper: Any = SimpleNamespace(get=lambda _: connection)
    made = driver.Libvirt(dom0, TAG, keeper)  # type: ignore[arg-type]
    xen = dom0.patience("a guest")
    calls: dict[str, Callable[[], object]] = {
        "create": lambda: made.create(CONFIG, deadline=xen),
        "destroy": lambda: made.destroy(5, until="gone", deadline=xen),
    }
    with pytest.raises(DeadlineExceededError):
        calls[call]()


def test_an_event_of_a_connection_that_is_gone_ends_no_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Enough(BaseException):
        pass

    rounds: list[int] = []

    def turn() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 3:
            raise Enough
        raise GONE

    loops: list[Callable[[], None]] = []

    def thread(*, target: Callable[[], None], **_: object) -> Any:
        loops.append(target)
        return SimpleNamespace(start=lambda: None)

    monkeypatch.setattr(libvirt, "virEventRegisterDefaultImpl", lambda: None)
    monkeypatch.setattr(libvirt, "virEventRunDefaultImpl", turn)
    monkeypatch.setattr(libvirt, "registerErrorHandler", lambda *_: None)
    monkeypatch.setattr(threading, "Thread", thread)
    inspect.unwrap(api.start_event_loop)()
    with pytest.raises(Enough):
        loops[0]()
    assert len(rounds) == 3


def test_a_daemon_that_does_not_answer_is_not_xen(
    dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lets_it_pass(_: object, deadline: Deadline, *_arguments: object) -> NoReturn:
        raise dataclasses.replace(deadline, end=0.0).error()

    monkeypatch.setattr(api, "call", lets_it_pass)
    monkeypatch.setattr(api, "start_event_loop", lambda: None)
    with pytest.raises(DeadlineExceededError, match="connecting to libvirt"):
        LibvirtConnection(dom0, TAG)  # type: ignore[arg-type]


def test_a_refusal_is_told_though_libxls_log_cannot_be_had(
    dom0: FakeDom0, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> NoReturn:
        raise InfrastructureError("the connection was lost")

    connection: Any = MagicMock()
    connection.call.side_effect = CommandError("libxenlight failed to create new domain")
    keeper: Any = SimpleNamespace(get=lambda _: connection)
    monkeypatch.setattr(dom0, "run", lost)
    made = driver.Libvirt(dom0, TAG, keeper)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="libxenlight failed") as caught:
        made.create(CONFIG, deadline=soon())
    assert caught.value.evidence["libxl's log"] == ""


IDLE = "futex_wait_queue rpc-libvirtd\nunix_stream_read_generic daemon-init\n"


@pytest.mark.parametrize(
    ("threads", "itself"),
    [
        (f"futex_wait_queue libvirtd\n{IDLE}", True),
        (f"do_sys_poll libvirtd\n{IDLE}", False),
        (f"futex_wait_queue libvirtd\n{IDLE}0 rpc-libvirtd\n", False),
        (f"futex_wait_queue libvirtd\n{IDLE}xen_hypercall rpc-libvirtd\n", False),
        (f"futex_wait_queue libvirtd\n{IDLE}do_sys_poll rpc-libvirtd\n", False),
        (f"futex_wait_queue libvirtd\n{IDLE}do_sys_poll gmain\n", True),
        ("0 libvirtd\n0 rpc-libvirtd\n", False),
        ("", False),
    ],
)
def test_a_daemon_that_waits_for_itself_is_not_xen(threads: str, *, itself: bool) -> None:
    """Where a thread may be in a hypercall, Xen is still the one that hangs."""
    dom0 = FakeDom0()
    dom0.printed = threads
    fake: Any = SimpleNamespace(dom0=dom0, _lost=False, transport=MagicMock())
    fake._printed = lambda script: LibvirtConnection._printed(fake, script)

    def hang() -> NoReturn:
        raise XenHungError("libvirt create: nothing moved", evidence={"Xen's log": "last words"})

    deadline = Deadline.after(5, "libvirt create victim-8")
    with pytest.raises(InfrastructureError if itself else XenHungError) as caught:
        LibvirtConnection.call(fake, deadline, hang)
    assert fake._lost
    fake.transport.kill.assert_called_once_with()
    assert caught.value.evidence["Xen's log"] == "last words"
    assert ("a lock of its own" in str(caught.value)) == itself
