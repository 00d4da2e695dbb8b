# SPDX-License-Identifier: MIT
"""Runs of pytest that boot a Xen on a machine: over real ssh, and no Xen is there.

Whatever is wrong with the machine is never said of the Xen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fakehost.machine import NAME, OWN, write_xen
from pytest_xenscrub.hypervisor.build import Artefact
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

if TYPE_CHECKING:
    from pathlib import Path

    from fakehost.machine import Machine

BUILT = "c0ffee" * 6 + "c0ff"
TEST = """
def test_it(xen_host, dom0, victim):
    print("booted", dom0.info().build_id)
    victim.fill()
"""


class Run:
    """Runs of pytest on the machine, with a Xen that was built just now.

    Attributes:
        build_id: that Xen's.
    """

    def __init__(
        self, machine: Machine, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.machine = machine
        self.build_id = BUILT
        self._pytester = pytester
        pytester.makepyfile(test_it=TEST)
        pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
        monkeypatch.setattr(Xens, "get", self._built)
        monkeypatch.setattr(Xens, "missing", lambda *_: {})
        self._before = machine.run("cd /boot; find | sort; cat grub/*")

    def _built(self, xens: Xens, name: str) -> ChosenXen:
        gz = write_xen(self._pytester.path / "xen.gz", self.build_id)
        artefact = Artefact(
            elf=gz, gz=gz, build_id=self.build_id, config=gz, symbols=gz, log=gz,
            version="4.17.5", debug=False, variant=name, domctl=0x15, sysctl=0x15,
        )  # fmt: skip
        return ChosenXen(xens.variants[name], artefact)

    def __call__(self, *arguments: str, host: str = NAME) -> pytest.RunResult:
        return self._pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-rA", f"--xen-host={host}", "--xen-variant=stock",
            f"--xen-ssh-config={self.machine.ssh_config}", *arguments,
        )  # fmt: skip

    def is_an_error(self, *words: str, host: str = NAME, arguments: tuple[str, ...] = ()) -> str:
        """See that a run ends with an error that has all of these words, and blames no Xen."""
        result = self(*arguments, host=host)
        said = result.stdout.str() + result.stderr.str()
        assert result.ret == INFRASTRUCTURE_STATUS
        for word in words:
            assert word in said
        result.assert_outcomes(errors=1)
        assert "FAILED" not in said
        assert "does not come up" not in said
        return said

    def left_nothing(self) -> None:
        """See that the machine is as it was."""
        assert self.machine.read("runs") == self.machine.read("own")
        assert self.machine.run("cd /boot; find | sort; cat grub/*") == self._before
        assert self.machine.run("ls /run /var/lib | grep xenscrub || :") == ""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the guest's kernel, which is built once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _nothing_from_outside(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def run(machine: Machine, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(machine, pytester, monkeypatch)


def boots(machine: Machine) -> list[str]:
    """Build ids of what the machine has booted."""
    words = [line.split() for line in machine.read("log").splitlines()]
    return [rest[0] for word, *rest in words if word == "boots"]


def test_a_built_xen_is_booted_once_and_the_run_goes_on_to_its_first_guest(run: Run) -> None:
    said = run.is_an_error("booted " + BUILT, "xl create", "this machine has no Xen")
    assert boots(run.machine) == [OWN, BUILT, OWN]
    assert "lab: booting its own Xen again" in said
    run.left_nothing()
