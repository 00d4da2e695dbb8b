# SPDX-License-Identifier: MIT
"""A host that fails while it is started, asked or left: what that does to a run and its tests."""

from __future__ import annotations

import inspect
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, call

import pytest

from pytest_xenscrub import fixtures_host, plugin
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    HostSilentError,
    InfrastructureError,
    MissingToolError,
    XenFaultError,
    XenHungError,
)
from pytest_xenscrub.hypervisor.choice import ChosenXen
from pytest_xenscrub.run import hosts, managed_host, preflight
from pytest_xenscrub.run.blame import Terminated
from pytest_xenscrub.run.hosts import Hosts
from pytest_xenscrub.run.managed_host import ManagedHost
from pytest_xenscrub.run.plan import Plan
from pytest_xenscrub.run.stash import SESSION
from pytest_xenscrub.run.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable


def let_pass(deadline: Deadline) -> None:
    raise deadline.error()


def body(fixture: object) -> Callable[..., Any]:
    """What a fixture does."""
    wrapped: Any = fixture
    found: Callable[..., Any] = inspect.unwrap(wrapped)
    return found


# -- its start -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [HostSilentError("dom0 stopped responding"), Terminated(), KeyboardInterrupt()]
)
def test_an_agent_whose_host_does_not_come_up_is_ended(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    dom0 = MagicMock()
    dom0.info.side_effect = error
    monkeypatch.setattr("pytest_xenscrub.dom0.client.Dom0", lambda *_, **__: dom0)
    with pytest.raises(type(error)) as caught:
        ManagedHost("lab7", ChosenXen(), MagicMock(), lambda _: None).bring_up()
    assert caught.value is error
    dom0.close.assert_called_once_with(grace=0.0)


def test_a_warm_host_whose_ram_is_read_for_too_long_is_not_xens() -> None:
    host: Any = SimpleNamespace(name="emulated", outside=SimpleNamespace(settle=let_pass))
    info: Any = None
    with pytest.raises(DeadlineExceededError, match="settling"):
        managed_host._settled(host, info)


def test_an_agent_that_cannot_be_ended_is_left() -> None:
    dom0 = MagicMock()
    dom0.close.side_effect = OSError("no such process")
    managed_host._end(dom0, broken=True)
    dom0.close.assert_called_once()


# -- its health ------------------------------------------------------------------------------------


def already_up(dom0: MagicMock, said: list[str]) -> ManagedHost:
    """A host of a run that is up already."""
    found = ManagedHost("lab7", ChosenXen(), MagicMock(), said.append)
    found._up = MagicMock(dom0=dom0)
    return found


def test_a_host_that_does_not_answer_after_a_test_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dom0 = MagicMock(alive=True)
    dom0.patience = lambda step, seconds: Deadline.for_xen(seconds, step, lambda: 0.0)
    dom0.ping.side_effect = let_pass
    said: list[str] = []
    managed = already_up(dom0, said)
    assert not managed.healthy()
    (deadline,) = dom0.ping.call_args.args
    assert deadline.blames_xen
    monkeypatch.setattr(managed, "_start", MagicMock(side_effect=InfrastructureError("no disk")))
    with pytest.raises(InfrastructureError, match="no disk"):
        managed.bring_up()
    assert "made anew, because: dom0's answer: not done" in said[0]


BROKE = [call("libvirt does not answer")]


@pytest.mark.parametrize(
    ("outside", "hangs", "broke"),
    [("RAM", True, BROKE), ("RAM", False, []), (None, True, [])],
)
def test_an_emulated_host_whose_toolstack_hangs_is_made_anew(
    outside: str | None, broke: list[object], *, hangs: bool
) -> None:
    """A real machine is left as it is: others may use it."""
    dom0, managed, drivers = MagicMock(), MagicMock(), MagicMock()
    dom0.host.outside, drivers.hangs.return_value = outside, hangs
    fixture = body(fixtures_host.toolstack)(managed, dom0, "libvirt", drivers)
    assert next(fixture) is drivers.get.return_value
    assert next(fixture, None) is None
    assert managed.broke.call_args_list == broke
    drivers.get.side_effect = DeadlineExceededError("connecting to libvirt: not done after 60 s")
    with pytest.raises(DeadlineExceededError):
        next(body(fixtures_host.toolstack)(managed, dom0, "libvirt", drivers))
    assert managed.broke.call_args_list == 2 * broke


class TestHotplug:
    """What the fixture does after a test."""

    @pytest.fixture(autouse=True)
    def _hotplug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pytest_xenscrub.dom0.hotplug.Hotplug", MagicMock())

    def after_test(self, dom0: MagicMock, managed: MagicMock) -> None:
        fixture = body(fixtures_host.hotplug)(managed, dom0)
        next(fixture)
        assert next(fixture, None) is None

    @pytest.mark.parametrize(
        ("starved", "told"),
        [(0.0, "the backlog after hotplug"), (60.0, "it cannot be told whether Xen hangs")],
    )
    def test_a_backlog_that_stays_breaks_the_host(self, starved: float, told: str) -> None:
        dom0, managed = MagicMock(), MagicMock()
        errors = []

        def patience(step: str, _: int) -> Deadline:
            return Deadline.for_xen(0.0, step, iter([0.0, *[starved] * 9]).__next__)

        def wait(deadline: Deadline) -> None:
            errors.append(deadline.error())
            raise errors[0]

        dom0.patience, dom0.wait_drained = patience, wait
        self.after_test(dom0, managed)
        (why,) = managed.broke.call_args.args
        assert told in why
        assert isinstance(errors[0], XenHungError) == (starved == 0)

    def test_nothing_is_waited_for_on_a_host_that_broke(self) -> None:
        dom0, managed = MagicMock(), MagicMock()
        managed.healthy.return_value = False
        self.after_test(dom0, managed)
        dom0.wait_drained.assert_not_called()


# -- what it is not fit for ------------------------------------------------------------------------


def test_ram_that_cannot_be_seen_from_outside_is_a_skip() -> None:
    up = MagicMock(oracle=None)
    with pytest.raises(pytest.skip.Exception, match="can be read from outside"):
        body(fixtures_host.oracle)(up)


def test_a_test_is_skipped_on_a_host_that_turns_out_to_lack_something() -> None:
    host = MagicMock()
    host.name = "lab7"
    host.lacks.return_value = frozenset({"numa"})
    hosts: Any = SimpleNamespace(
        reservation=SimpleNamespace(check=lambda: None, get=lambda: host),
        needs=lambda _: frozenset({"numa"}),
    )
    item: Any = None
    with pytest.raises(pytest.skip.Exception, match="lab7 has no numa"):
        Hosts.check(hosts, item)
    host.lacks.return_value = frozenset()
    Hosts.check(hosts, item)


# -- what cannot be had ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [MissingToolError("gcc is not installed"), InfrastructureError("no disk"), OSError(28, "no")],
)
def test_what_preflight_misses_ends_the_run_before_any_host(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "check", MagicMock(side_effect=error))
    session = MagicMock()
    session.config = SimpleNamespace(option=SimpleNamespace(tx=None))
    session.blame.refused = False
    item: Any = SimpleNamespace(callspec=SimpleNamespace(params={}))
    with pytest.raises(InfrastructureError):
        Plan(session)._preflight([item], ["stock"])
    assert session.blame.refused


def test_a_xen_that_cannot_be_built_is_told_by_the_tests_that_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Plan, "_preflight", lambda *_: None)
    session = MagicMock()
    session.xens.names = ("stock",)
    item: Any = SimpleNamespace(callspec=SimpleNamespace(params={}))
    session.xens.get.side_effect = InfrastructureError("no disk")
    Plan(session).build([item])
    session.xens.get.side_effect = ConfigurationError("the patch does not apply")
    with pytest.raises(ConfigurationError):
        Plan(session).build([item])


def test_sigterm_reaches_all_workers_even_if_one_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: list[Any] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    monkeypatch.setattr(signal, "signal", lambda _, handler: handlers.append(handler))
    gone, there = MagicMock(), MagicMock()
    gone.send_signal.side_effect = ProcessLookupError
    config = MagicMock()
    session = MagicMock()
    config.stash = {plugin._WORKERS: [gone, there], SESSION: session}
    plugin._end_on_sigterm(config)
    with pytest.raises(Terminated):
        handlers[0](signal.SIGTERM, None)
    there.send_signal.assert_called_once_with(signal.SIGTERM)
    assert session.blame.interrupted


def test_what_no_host_is_fit_for_is_skipped_before_any_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts, "uses_host", lambda _: True)
    fit, unfit = MagicMock(), MagicMock()
    unfit.lacks = lambda needs: needs & {"numa"}
    unfit.name = "lab7"
    fake: Any = SimpleNamespace(
        needs=lambda item: frozenset(item.wants), _candidates=[unfit],
        _config=SimpleNamespace(),
    )  # fmt: skip
    fit.wants, (other := MagicMock()).wants = {"xl"}, {"xl", "numa"}
    Hosts.prepare(fake, [fit, other])
    fit.add_marker.assert_not_called()
    ((marker,), _) = other.add_marker.call_args
    assert (marker.name, marker.kwargs) == ("skip", {"reason": "lab7 has no numa"})


def test_a_fault_of_xens_is_told_though_dom0_is_gone_since() -> None:
    dom0 = MagicMock()
    dom0.host.name = "lab7"
    dom0.faults.return_value = "Assertion 'page' failed\nXen call trace: ..."
    dom0.watch_log.side_effect = HostSilentError("dom0 stopped responding")
    session: Any = SimpleNamespace(managed_host=SimpleNamespace(running=dom0))
    with pytest.raises(XenFaultError, match="lab7: Assertion 'page' failed"):
        Watch(session).check_xen_log()
    dom0.watch_log.assert_called_once()
