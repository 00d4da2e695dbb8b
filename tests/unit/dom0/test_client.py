# SPDX-License-Identifier: MIT
"""What dom0 tells and does, asked of the real agent with Xen's bindings faked."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0 import client
from pytest_xenscrub.dom0.answers import XenInfo
from pytest_xenscrub.dom0.client import Dom0
from pytest_xenscrub.errors import (
    CommandError,
    DeadlineExceededError,
    HostStalledError,
    InfrastructureError,
    UndecidedError,
    XenHungError,
)

from .conftest import REFUSE, THERE, for_xen, lets_it_pass, silent_dom0, soon

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Connected


# -- what it tells -----------------------------------------------------------------------------


def test_info_of_a_release_build(connect: Connected) -> None:
    info = connect().info()
    assert (info.version, info.debug, info.clean_byte) == ("4.17.5", False, 0x00)
    assert (info.total_bytes, info.cpus, info.build_id) == (4 << 20, 2, "c0ffee")


def test_a_debug_build_scrubs_with_c2(connect: Connected) -> None:
    info = connect("(XEN) Xen version 4.17.5 (x) debug=y Tue\n").info()
    assert (info.debug, info.clean_byte) == (True, 0xC2)


def test_a_banner_that_the_log_has_lost_is_in_a_register_dump(connect: Connected) -> None:
    registers = "(XEN) ----[ Xen-4.17.5  x86_64  debug=y  Not tainted ]----\n"
    assert connect("(XEN) hours later\n", registers=registers).info().debug


def test_an_unknown_kind_of_build_is_an_error(connect: Connected) -> None:
    with pytest.raises(InfrastructureError, match="cannot tell whether Xen is a debug build"):
        connect("(XEN) hours later\n")


@pytest.mark.parametrize(
    ("command_line", "debug", "all_of_it"),
    [
        ("", "n", False),
        ("console=com1 scrub-domheap", "n", True),
        ("bootscrub=1", "n", False),
        ("bootscrub=1", "y", True),
        ("", "y", False),
    ],
)
def test_a_xen_that_scrubs_what_live_guests_give_back(
    command_line: str, debug: str, *, all_of_it: bool
) -> None:
    info = XenInfo("4.17", debug == "y", "", command_line, 1 << 30, 2, 1, "")
    assert info.scrubs_all is all_of_it


@pytest.mark.parametrize(
    "line",
    [
        "Assertion 'first_dirty < (1U << order)' failed at common/page_alloc.c:748",
        "Xen WARN at common/page_alloc.c:7",
        "Xen BUG at common/page_alloc.c:7",
        "FATAL PAGE FAULT",
        "Panic on CPU 1:",
    ],
)
def test_what_xen_finds_wrong_with_itself_is_told_from_there_on(
    connect: Connected, line: str
) -> None:
    before = "(XEN) Xen version 4.17.5 (x) debug=y Tue\n(XEN) Xen WARN at old.c:1\n"
    dom0 = connect(before, registers=f"(XEN) d5 crashed\n(XEN) {line}\n(XEN) Xen call trace:\n")
    dom0.watch_log()
    assert dom0.faults() == ""
    dom0._look("debug_key", "debug key d", key="d")
    assert dom0.faults() == f"(XEN) {line}\n(XEN) Xen call trace:"
    dom0.watch_log()
    assert dom0.faults() == ""


def test_missing_bindings_say_what_to_install(connect: Connected) -> None:
    with pytest.raises(InfrastructureError, match=r"no Xen bindings \(xen\.lowlevel\.xc\)") as e:
        connect(bindings=False)
    assert "xen-utils" in e.value.todo


def test_what_a_login_prints_is_passed_over(connect: Connected, tmp_path: Path) -> None:
    (tmp_path / "bindings" / "xen" / "__init__.py").write_text('print("Welcome to dom0!")')
    assert connect().info().cpus == 2


def test_free_memory_backlog_and_domains(connect: Connected) -> None:
    dom0 = connect()
    assert dom0.free_bytes() == 1 << 20
    assert dom0.backlog_pages() == 300
    (domain,) = dom0.domains()
    assert (domain.domid, domain.memory_bytes, domain.cpu_seconds) == (0, 512 << 10, 1.0)


def test_nodes_and_the_backlog_of_each(connect: Connected) -> None:
    dom0 = connect()
    assert dom0.nodes() == {0: range(4096), 1: range(4096, 4608)}
    assert dom0.backlog_of_nodes() == {0: 300}
    assert dom0.free_bytes_of_nodes() == {1: 3 << 20}


def test_free_memory_settles(connect: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = connect()
    seen = iter([100, 100, 101, 101, 104])
    monkeypatch.setattr(dom0, "free_bytes", lambda: next(seen, 104))
    monkeypatch.setattr(client, "SETTLE_SECONDS", 0.2)
    assert dom0.settled_free_bytes() == 104


def test_free_memory_that_never_settles_is_not_waited_for(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    monkeypatch.setattr(dom0, "free_bytes", time.monotonic_ns)
    monkeypatch.setattr(client, "SETTLE_MOST_SECONDS", 0.2)
    dom0.settled_free_bytes()


def test_a_backlog_is_waited_for(connect: Connected) -> None:
    dom0 = connect()
    dom0.wait_drained(soon())
    assert dom0.backlog_pages() == 0


def test_a_backlog_that_stays_is_a_deadline_with_its_size(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect()
    monkeypatch.setattr(dom0, "backlog_pages", lambda: 42)
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        dom0.wait_drained(soon(0.1))
    assert "42 pages" in str(caught.value)


def test_a_backlog_that_does_not_shrink_is_a_hang(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect(hang_seconds=0.2)
    monkeypatch.setattr(dom0, "backlog_pages", lambda: 512)
    with pytest.raises(XenHungError, match="a step: no page was scrubbed for 0 s; 2 MiB are left"):
        dom0.wait_drained(for_xen())


def test_a_backlog_that_falls_is_waited_for_however_long(
    connect: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = connect(hang_seconds=0.15)
    pages = iter(range(10, -1, -1))
    monkeypatch.setattr(dom0, "backlog_pages", lambda: next(pages))
    begin = time.monotonic()
    dom0.wait_drained(for_xen())
    assert time.monotonic() - begin > 2 * dom0.hang_seconds


def test_a_command_in_which_nothing_moves_is_a_hang_long_before_its_time(
    connect: Connected,
) -> None:
    dom0 = connect(hang_seconds=0.6)
    begin = time.monotonic()
    with pytest.raises(XenHungError, match="a step: no page of any domain and no byte"):
        dom0.run(["sleep", "60"], deadline=for_xen(60))
    assert time.monotonic() - begin < 20


def test_a_command_is_not_judged_by_what_moves_where_xen_is_not_waited_for(
    connect: Connected,
) -> None:
    dom0 = connect(hang_seconds=0.2)
    assert dom0.run(["sleep", "1.5"], deadline=soon()).check()


def test_limits_grow_with_memory_and_with_what_the_host_was_seen_to_do(
    connect: Connected,
) -> None:
    dom0 = connect()
    assert dom0.patience_seconds() == 120
    tib = dom0.patience_seconds(1 << 40)
    assert tib > 10 * 651  # 1 TB took 10 min 51 s once
    dom0.pace.saw(1 << 30, 1.0)  # fast: as good as was thought
    assert dom0.patience_seconds(1 << 40) < 1.3 * tib
    dom0.pace.saw(1 << 30, 10.0)
    assert dom0.patience_seconds(1 << 40) > 10 * tib


# -- what it does ------------------------------------------------------------------------------


def test_run_is_timed(connect: Connected) -> None:
    result = connect().run(["echo", "hello"], deadline=soon())
    assert result.check().stdout == "hello\n"
    assert 0 <= result.seconds < 5


def test_a_command_that_fails_says_why(connect: Connected) -> None:
    result = connect().run(["sh", "-c", "echo bad luck >&2; exit 3"], deadline=soon())
    with pytest.raises(CommandError, match="ended with 3") as caught:
        result.check()
    assert "bad luck" in str(caught.value)


def test_a_command_that_hangs_is_a_deadline_with_xens_log(connect: Connected) -> None:
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        connect().run(["sleep", "60"], deadline=soon(1.2))
    assert "4.17.5 debug=n" in caught.value.evidence["Xen's log"]


def test_what_the_agent_refuses_is_infrastructure(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(InfrastructureError, match="no such domain"):
        dom0.crash(REFUSE)
    with pytest.raises(InfrastructureError, match="there is no domain 9"):
        dom0.reclaim(9, ["true"], until="gone", deadline=soon())
    dom0.ping(soon())


def test_a_watch_is_there_once_what_the_domain_has_was_seen(
    connect: Connected, tmp_path: Path
) -> None:
    domain = tmp_path / "domain"
    domain.touch()
    dom0 = connect(domain=domain)
    watch = dom0.watch(THERE, None, until="gone", deadline=soon())
    assert not watch.done
    domain.unlink()
    assert watch.result().gone is not None


def test_a_watch_of_no_domain_never_begins(connect: Connected) -> None:
    dom0 = connect()
    with pytest.raises(InfrastructureError, match="there is no domain 9"):
        dom0.watch(9, None, until="gone", deadline=soon())


def test_a_watch_that_does_not_begin_is_a_deadline(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceededError, match="a step"):
        dom0.watch(THERE, None, until="gone", deadline=soon(0.2))


def test_a_watch_that_dom0_does_not_survive_never_begins(connect: Connected) -> None:
    dom0 = connect()
    assert connect.host is not None
    connect.host.signal(signal.SIGKILL)
    with pytest.raises(HostStalledError):
        dom0.watch(THERE, None, until="gone", deadline=soon())


def test_a_file_is_written(connect: Connected, tmp_path: Path) -> None:
    connect().write(str(tmp_path / "new" / "file"), "text")
    assert (tmp_path / "new" / "file").read_text() == "text"


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (600.0, UndecidedError)])
def test_xl_info_that_hangs_is_xens_unless_the_host_was_starved(
    starved: float, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="xl info"):
        Dom0.claimed_bytes(silent_dom0(starved))


@pytest.mark.parametrize("backlog", [[300, 300], [300, 200, 200]])
def test_a_backlog_that_stands_still_is_xens_whatever_the_whole_wait_is(
    backlog: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "DRAIN_POLL_SECONDS", 0.01)
    left = iter(backlog)
    fake: Any = SimpleNamespace(
        hang_seconds=0.05,
        patience=lambda step, seconds: Deadline.for_xen(seconds, step, lambda: 0.0),
        backlog_pages=lambda: next(left, backlog[-1]),
        evidence=dict,
    )
    with pytest.raises(XenHungError, match="no page was scrubbed"):
        Dom0.wait_drained(fake, Deadline.after(60, "a step"))


def test_the_agent_gives_up_a_watch_before_this_end_does() -> None:
    asked: dict[str, Any] = {}

    def submit(_: str, **arguments: Any) -> Any:
        asked.update(arguments)
        return SimpleNamespace(begun=None, answer=None)

    fake: Any = SimpleNamespace(_submit=submit, _await=lambda *_: None, hang_seconds=60.0)
    Dom0.watch(fake, 5, None, until="gone", deadline=soon(30))
    assert 20 < asked["timeout"] <= 28
    Dom0.watch(fake, 5, None, until="gone", deadline=soon(1))
    assert asked["timeout"] == 0.1


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (600.0, UndecidedError)])
def test_a_look_at_xen_that_hangs_is_xens(starved: float, kind: type[Exception]) -> None:
    fake: Any = SimpleNamespace(
        host=SimpleNamespace(name="lab7"),
        _starved_seconds=iter([0.0, *[starved] * 9]).__next__,
        _call=lambda _, deadline: lets_it_pass(None, deadline=deadline),
    )
    with pytest.raises(kind, match="reading the backlog"):
        Dom0._look(fake, "backlog", "reading the backlog")
