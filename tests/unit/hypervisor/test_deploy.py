# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError, DeadlineExceededError
from pytest_xenscrub.host.emulated import EmulatedHost
from pytest_xenscrub.host.pool import parse_host
from pytest_xenscrub.hypervisor import deploy, grub
from pytest_xenscrub.hypervisor.build import Artefact
from pytest_xenscrub.hypervisor.choice import ChosenXen
from pytest_xenscrub.hypervisor.interface import Interfaces
from pytest_xenscrub.hypervisor.variant import STOCK

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline

ARTEFACT = Artefact(
    elf=Path("xen"),
    gz=Path("xen.gz"),
    build_id="abc",
    config=Path("config"),
    symbols=Path("xen-syms"),
    log=Path("log"),
    version="4.17.5",
    debug=False,
    variant="stock",
    domctl=0x15,
    sysctl=0x15,
)


class FakeOnce:
    """Stands for GRUB's one-shot boot; tells what was asked of it."""

    said: list[str]
    fails = False

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def boot(self, _deadline: Deadline) -> None:
        self.said.append("boot")

    def restore(self, deadline: Deadline) -> None:
        self.said.append(f"restore within {deadline.seconds:.0f} s")
        if self.fails:
            raise deadline.error()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> type[FakeOnce]:
    FakeOnce.said = []
    FakeOnce.fails = False
    monkeypatch.setattr(grub, "OneShotBoot", FakeOnce)
    monkeypatch.setattr(
        "pytest_xenscrub.hypervisor.interface.ask_tools", lambda *_, **__: Interfaces(0x15, 0x15)
    )
    monkeypatch.setattr(deploy, "wait_for_xenstore", lambda _: None)
    return FakeOnce


def over_ssh(xen: ChosenXen, said: list[str]) -> deploy.SshDeployment:
    return deploy.SshDeployment(
        xen,
        parse_host("lab7"),
        config=None,
        tag="xenscrub-000001",
        lock=lambda: None,
        tools_for=lambda *_: None,
        say=said.append,
    )


def test_a_machine_with_its_own_xen_is_not_rebooted(once: type[FakeOnce]) -> None:
    deployment = over_ssh(ChosenXen(), [])
    assert deployment.start().name == "lab7"
    deployment.stop(broken=False)
    assert once.said == []


def test_a_chosen_xen_is_booted_once_and_taken_back(once: type[FakeOnce]) -> None:
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), [])
    deployment.start()
    deployment.stop(broken=False)
    deployment.stop(broken=False)
    assert once.said == ["boot", "restore within 600 s"]


def test_a_broken_machine_is_not_waited_for_long_and_what_is_left_is_told(
    once: type[FakeOnce],
) -> None:
    said: list[str] = []
    once.fails = True
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), said)
    deployment.start()
    deployment.stop(broken=True)
    assert once.said == ["boot", "restore within 60 s"]
    assert said[-1].startswith("lab7: was not put back: ")


def test_boot_options_for_a_xen_that_we_do_not_boot_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot change the boot options"):
        over_ssh(ChosenXen(cmdline="bootscrub=1"), [])


def test_tools_that_do_not_match_stop_before_anything_boots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was booted")

    def refuse(_xen: ChosenXen, spoken: Interfaces, suite: str) -> None:
        raise ConfigurationError(f"{suite} speaks {spoken}")

    monkeypatch.setattr(EmulatedHost, "start", never)
    deployment = deploy.EmulatedDeployment(
        ChosenXen(STOCK, ARTEFACT),
        deploy.EmulatedChoice("trixie", 4 << 30),
        tools_for=refuse,
        say=lambda _: None,
    )
    with pytest.raises(ConfigurationError, match="trixie speaks domctl 0x17"):
        deployment.start()
    deployment.stop(broken=False)


def test_services_that_do_not_come_up_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        name = "lab7"

        def run(self, *_: object, **__: object) -> object:
            return type("Result", (), {"returncode": 1, "stderr": "no xenstore"})

        def serial_tail(self) -> str:
            return "(XEN) booted"

    monkeypatch.setattr(deploy, "SERVICES_SECONDS", 0.0)
    with pytest.raises(DeadlineExceededError, match="dom0's services") as caught:
        deploy.wait_for_xenstore(Down())  # type: ignore[arg-type]
    assert "no xenstore" in str(caught.value)
