# SPDX-License-Identifier: MIT
"""Whole runs of pytest on a lab machine without a Xen, reached over real ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakehost.machine import NAME, write_xen
from pytest_xenscrub.boot import (
    command_boot,
    deploy_emulated,
    deploy_ssh,
    grub,
    interface_probe,
)
from pytest_xenscrub.hypervisor.artefact import Artefact
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

if TYPE_CHECKING:
    import pytest

    from fakehost.machine import Machine

BUILT = "c0ffee" * 6 + "c0ff"
TEST = """
def test_it(xen_host, dom0, victim):
    print("booted", dom0.info().build_id)
    victim.fill()
"""
LOADED = command_boot, deploy_emulated, deploy_ssh, grub, interface_probe
"""Each run in this process would load them anew, beside what is loaded already."""


class Run:
    """Runs of pytest on the machine, with a Xen that was built just now.

    Attributes:
        build_id: that Xen's.
        cmdline: boot options for it.
    """

    def __init__(
        self, machine: Machine, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.machine = machine
        self.build_id = BUILT
        self.cmdline = ""
        self._pytester = pytester
        pytester.makepyfile(test_it=TEST)

        def get(xens: Xens, name: str) -> ChosenXen:
            return self._built(xens, name)

        pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
        monkeypatch.setattr(Xens, "get", get)
        monkeypatch.setattr(Xens, "missing", lambda *_: {})
        self._before = machine.run("cd /boot; find | sort; cat grub*/*")

    def _built(self, xens: Xens, name: str) -> ChosenXen:
        variant = xens.variants[name]
        if not variant.builds:
            return ChosenXen(variant)
        gz = write_xen(self._pytester.path / "xen.gz", self.build_id)
        artefact = Artefact(
            elf=gz, gz=gz, build_id=self.build_id, config=gz, symbols=gz, log=gz,
            version="4.17.5", debug=False, variant=name, domctl=0x15, sysctl=0x15,
        )  # fmt: skip
        return ChosenXen(variant, artefact, cmdline=self.cmdline)

    def __call__(
        self, *arguments: str, host: str = NAME, variant: str = "stock"
    ) -> pytest.RunResult:
        return self._pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-rA", f"--xen-host={host}", f"--xen-variant={variant}",
            f"--xen-ssh-config={self.machine.ssh_config}", *arguments,
        )  # fmt: skip

    def is_an_error(
        self,
        *words: str,
        host: str = NAME,
        variant: str = "stock",
        arguments: tuple[str, ...] = (),
    ) -> str:
        """See that a run ends with an error that has all of these words, and blames no Xen."""
        result = self(*arguments, host=host, variant=variant)
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
        assert self.machine.run("cd /boot; find | sort; cat grub*/*") == self._before
        assert self.machine.run("ls /run /var/lib | grep xenscrub || :") == ""


def boots(machine: Machine) -> list[str]:
    """Build ids of what the machine has booted."""
    words = [line.split() for line in machine.read("log").splitlines()]
    return [rest[0] for word, *rest in words if word == "boots"]
