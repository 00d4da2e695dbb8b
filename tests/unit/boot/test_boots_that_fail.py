# SPDX-License-Identifier: MIT
"""Boots, reboots and installs that come to nothing: infrastructure, whatever Xen was chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.boot import deploy, deploy_ssh, recovery
from pytest_xenscrub.boot.deploy_emulated import EmulatedChoice, EmulatedDeployment
from pytest_xenscrub.boot.deploy_ssh import SshDeployment
from pytest_xenscrub.boot.grub_config import _words
from pytest_xenscrub.boot.reboot import Running, reboot, wait_for_boot
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    CommandError,
    DeadlineExceededError,
    Fault,
    HostUnusableError,
    InfrastructureError,
    UndecidedError,
    XenScrubError,
)
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.hypervisor.choice import ChosenXen
from pytest_xenscrub.hypervisor.variant import STOCK

if TYPE_CHECKING:
    from collections.abc import Callable


def lets_it_pass(*arguments: Any, **named: Any) -> NoReturn:
    """Whoever is given a deadline, and does not keep it."""
    raise next(each for each in (*arguments, *named.values()) if isinstance(each, Deadline)).error()


def soon(seconds: float = 0.2) -> Deadline:
    return Deadline.after(seconds, "a step")


# -- reboots ---------------------------------------------------------------------------------------


def test_a_machine_that_was_given_up_is_not_rebooted() -> None:
    given_up = HostUnusableError("lab7 was given up")
    host: Any = SimpleNamespace(name="lab7", run=MagicMock(side_effect=given_up))
    with pytest.raises(HostUnusableError) as caught:
        reboot(host, Running("first", "c0ffee"), soon())
    assert caught.value is given_up
    host.run.assert_called_once()


def test_a_machine_that_was_given_up_is_not_waited_for() -> None:
    given_up = HostUnusableError("lab7 was given up")
    host: Any = SimpleNamespace(name="lab7", run=MagicMock(side_effect=given_up))
    with pytest.raises(HostUnusableError) as caught:
        wait_for_boot(host, None, soon())
    assert caught.value is given_up


@pytest.mark.parametrize("error", [InfrastructureError("connection reset"), soon().error()])
def test_a_machine_that_is_down_before_it_answers_reboots(error: Exception) -> None:
    answer = SimpleNamespace(stdout="second\nc0ffee\n")
    host: Any = SimpleNamespace(name="lab7", run=MagicMock(side_effect=[error, error, answer]))
    assert reboot(host, Running("first", "c0ffee"), soon(10)).boot_id == "second"


def test_a_machine_that_does_not_reboot_is_not_xens() -> None:
    answer = SimpleNamespace(stdout="first\nc0ffee\n", returncode=0)
    host: Any = SimpleNamespace(name="lab7", run=lambda *_, **__: answer, serial_tail=str)
    with pytest.raises(InfrastructureError, match="still in the same boot"):
        reboot(host, Running("first", "c0ffee"), soon())


def test_a_machine_that_does_not_come_back_is_told_by_its_last_answer() -> None:
    refused = InfrastructureError("connection refused")
    host: Any = SimpleNamespace(
        name="lab7", run=MagicMock(side_effect=refused), serial_tail=lambda: "(XEN) last words"
    )
    with pytest.raises(DeadlineExceededError, match="did not come back") as caught:
        reboot(host, Running("first", "c0ffee"), soon())
    assert caught.value.evidence["last answer"] == "connection refused"


# -- who is asked before anything is booted --------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [InfrastructureError("no route"), soon().error(), UndecidedError("silent"), CommandError("no")],
)
def test_a_machine_that_does_not_answer_at_first_is_unusable_and_xen_not_blamed(
    error: XenScrubError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_ssh, "running", MagicMock(side_effect=error))
    deployment = SshDeployment(
        ChosenXen(), parse_host("lab7"), config=None, tag="xenscrub-000001",
        lock=MagicMock(), tools_for=MagicMock(), say=lambda _: None,
    )  # fmt: skip
    with pytest.raises(HostUnusableError) as caught:
        deployment.start()
    assert caught.value.what == error.what
    assert caught.value.fault is Fault.INFRASTRUCTURE
    deployment.stop(broken=False)


# -- each step on a host has a limit that blames nobody's Xen --------------------------------------


def put_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "install", lets_it_pass)
    host: Any = SimpleNamespace(name="lab7")
    tools: Any = object()
    deploy.with_tools(host, tools)


def recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_answers", lambda _: False)
    monkeypatch.setattr(recovery, "wait_for_boot", lets_it_pass)
    host: Any = MagicMock()
    power: Any = MagicMock()
    recovery.recover(host, power, since=None, patience=1, say=lambda _: None)


def waits_for_services(_: pytest.MonkeyPatch) -> None:
    host: Any = SimpleNamespace(name="lab7", run=lets_it_pass)
    recovery.wait_for_xenstore(host)


def sweeps(_: pytest.MonkeyPatch) -> None:
    host: Any = SimpleNamespace(name="lab7", run=lets_it_pass)
    recovery.destroy_run_guests(host, "xenscrub-000001")


def emulated(monkeypatch: pytest.MonkeyPatch, **fails: object) -> None:
    package = "pytest_xenscrub.host.emulated"
    for name in ("prepare_image", "choose_ram"):
        monkeypatch.setattr(f"{package}.{name}", fails.get(name, MagicMock()))
    start = fails.get("start", MagicMock())
    monkeypatch.setattr(f"{package}.EmulatedHost.start", start)
    choice = EmulatedChoice("bookworm", 2 << 30, accel="tcg")
    EmulatedDeployment(ChosenXen(), choice, tools_for=lambda *_: None, say=lambda _: None).start()


def builds_image(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated(monkeypatch, prepare_image=lets_it_pass)


def boots_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated(monkeypatch, start=lets_it_pass)


@pytest.mark.parametrize(
    "step",
    [
        put_tools, recovers, waits_for_services, sweeps, builds_image,
        boots_emulated,
    ],
)  # fmt: skip
def test_a_step_around_xen_that_takes_too_long_is_not_xens(
    step: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeadlineExceededError):
        step(monkeypatch)


def test_a_machine_that_does_not_answer_is_asked_for_as_long_as_it_may() -> None:
    asked: list[Deadline] = []

    def run(_: object, *, deadline: Deadline) -> NoReturn:
        asked.append(deadline)
        raise deadline.error()

    host: Any = SimpleNamespace(name="lab7", run=run, disconnect=lambda: None)
    assert not recovery._answers(host)
    assert [deadline.blames_xen for deadline in asked] == [False]


def test_a_machine_that_nothing_can_switch_is_unusable_once_it_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[Deadline] = []

    def wait(_host: object, _since: None, deadline: Deadline) -> NoReturn:
        waited.append(deadline)
        raise deadline.error()

    monkeypatch.setattr(recovery, "wait_for_boot", wait)
    host: Any = SimpleNamespace(name="lab7")
    with pytest.raises(HostUnusableError, match="no power command") as caught:
        recovery._wait_without_power(host, 1)
    assert "coming back by itself: not done" in caught.value.evidence["waiting"]
    assert not waited[0].blames_xen


def test_a_line_of_grubs_that_is_not_whole_has_no_words() -> None:
    assert _words("echo 'begins here") == ()
    assert _words("echo 'is whole'") == ("echo", "is whole")


def test_no_step_before_a_chosen_xen_runs_blames_it(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[Deadline] = []

    def note(*arguments: Any, **named: Any) -> Any:
        deadlines.extend(
            each for each in (*arguments, *named.values()) if isinstance(each, Deadline)
        )
        return MagicMock()

    for name in ("running", "wait_for_xenstore"):
        monkeypatch.setattr(deploy_ssh, name, note)
    monkeypatch.setattr("pytest_xenscrub.boot.interface_probe.ask_tools", note)
    monkeypatch.setattr(
        "pytest_xenscrub.boot.grub.OneShotBoot", lambda *_, **__: SimpleNamespace(boot=note)
    )
    artefact: Any = MagicMock()
    deployment = SshDeployment(
        ChosenXen(STOCK, artefact), parse_host("lab7"), config=None, tag="xenscrub-000001",
        lock=MagicMock(), tools_for=lambda *_: None, say=lambda _: None,
    )  # fmt: skip
    deployment.start().close()
    assert [deadline.blames_xen for deadline in deadlines] == [False] * 3
