# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot import deploy_emulated, deploy_ssh, grub, recovery
from pytest_xenscrub.boot.reboot import Running
from pytest_xenscrub.errors import ConfigurationError, DeadlineExceededError, HostUnusableError
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.host.emulated import EmulatedHost, MachineSpec
from pytest_xenscrub.hypervisor.artefact import Artefact
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
    booted = True
    fails = 0
    hangs = False

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def boot(self, _deadline: Deadline) -> Running:
        self.said.append("boot")
        if self.hangs:
            raise _deadline.error()
        return Running("boot-2", "abc")

    def restore(self, deadline: Deadline) -> None:
        self.said.append(f"restore within {deadline.seconds:.0f} s")
        if type(self).fails:
            type(self).fails -= 1
            raise deadline.error()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> type[FakeOnce]:
    FakeOnce.said = []
    FakeOnce.fails = 0
    FakeOnce.hangs = False
    monkeypatch.setattr(grub, "OneShotBoot", FakeOnce)
    monkeypatch.setattr(
        "pytest_xenscrub.boot.interface_probe.ask_tools", lambda *_, **__: Interfaces(0x15, 0x15)
    )
    monkeypatch.setattr(deploy_ssh, "wait_for_xenstore", lambda _: None)
    monkeypatch.setattr(deploy_ssh, "running", lambda *_: Running("boot-1", "own"))
    monkeypatch.setattr(
        deploy_ssh,
        "recover",
        lambda *_, patience, **__: FakeOnce.said.append(f"wait {patience:.0f} s"),
    )
    monkeypatch.setattr(deploy_ssh, "destroy_run_guests", lambda *_: ["xenscrub-000001-victim-1"])
    return FakeOnce


def over_ssh(xen: ChosenXen, said: list[str], *power: str) -> deploy_ssh.SshDeployment:
    return deploy_ssh.SshDeployment(
        xen,
        dataclasses.replace(parse_host("lab7"), power=power),
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


def test_a_machine_that_broke_is_recovered_and_swept_before_anything_else(
    once: type[FakeOnce],
) -> None:
    said: list[str] = []
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), said)
    deployment.start()
    deployment.stop(broken=True)
    assert once.said == ["boot", "wait 600 s", "restore within 600 s"]
    assert "lab7: xenscrub-000001-victim-1 was left, and is destroyed" in said


def test_a_xen_that_did_not_come_up_has_been_waited_for_already(once: type[FakeOnce]) -> None:
    once.hangs = True
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), [])
    with pytest.raises(DeadlineExceededError):
        deployment.start()
    deployment.stop(broken=True)
    assert once.said == ["boot", "wait 60 s", "restore within 600 s"]


def test_a_machine_that_does_not_come_back_is_told_and_not_used_again(
    once: type[FakeOnce],
) -> None:
    said: list[str] = []
    once.fails = 1
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), said)
    deployment.start()
    deployment.stop(broken=False)
    assert once.said == ["boot", "restore within 600 s"]
    assert said[-1].startswith("lab7: was not put back: ")
    with pytest.raises(HostUnusableError, match="booting its own Xen again: not done"):
        deployment.start()


def test_one_that_does_not_come_back_is_power_cycled(once: type[FakeOnce]) -> None:
    once.fails = 1
    deployment = over_ssh(ChosenXen(STOCK, ARTEFACT), [], "bmc", "{action}")
    deployment.start()
    deployment.stop(broken=False)
    restore = "restore within 600 s"
    assert once.said == ["boot", restore, "wait 600 s", restore]
    assert deployment.start().name == "lab7"
    deployment.stop(broken=False)


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
    deployment = deploy_emulated.EmulatedDeployment(
        ChosenXen(STOCK, ARTEFACT),
        deploy_emulated.EmulatedChoice("trixie", 4 << 30),
        tools_for=refuse,
        say=lambda _: None,
    )
    with pytest.raises(ConfigurationError, match="trixie speaks domctl 0x17"):
        deployment.start()
    deployment.stop(broken=False)


@pytest.mark.parametrize(
    ("wanted", "here", "cpus"), [(None, 1, 1), (None, 8, 2), (1, 8, 1), (8, 8, 8), (4, 2, 4)]
)
def test_emulated_host_has_the_cpus_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, wanted: int | None, here: int, cpus: int
) -> None:
    said: list[str] = []
    started: list[MachineSpec] = []

    def start(spec: MachineSpec, **_: object) -> None:
        started.append(spec)
        raise ConfigurationError("far enough")

    monkeypatch.setattr(EmulatedHost, "start", start)
    monkeypatch.setattr("pytest_xenscrub.host.emulated.prepare_image", lambda *_: None)
    monkeypatch.setattr(deploy_emulated, "usable_cpus", lambda: here)
    deployment = deploy_emulated.EmulatedDeployment(
        ChosenXen(),
        deploy_emulated.EmulatedChoice("bookworm", 2 << 30, cpus=wanted),
        tools_for=lambda *_: None,
        say=said.append,
    )
    with pytest.raises(ConfigurationError, match="far enough"):
        deployment.start()
    assert [spec.cpus for spec in started] == [cpus]
    more = [line for line in said if "CPUs" in line]
    assert len(more) == (1 if cpus > here else 0)


def test_services_that_do_not_come_up_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        name = "lab7"

        def run(self, *_: object, **__: object) -> object:
            return type("Result", (), {"returncode": 1, "stderr": "no xenstore"})

        def serial_tail(self) -> str:
            return "(XEN) booted"

    monkeypatch.setattr(recovery, "SERVICES_SECONDS", 0.0)
    with pytest.raises(DeadlineExceededError, match="dom0's services") as caught:
        recovery.wait_for_xenstore(Down())  # type: ignore[arg-type]
    assert "no xenstore" in str(caught.value)
