# SPDX-License-Identifier: MIT
"""Whose fault it is that a host does not come up with a Xen that was built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    CommandError,
    ConfigurationError,
    InfrastructureError,
    MissingToolError,
    UndecidedError,
    XenFaultError,
    XenScrubError,
)
from pytest_xenscrub.host.boot_log import blamed
from pytest_xenscrub.hypervisor.artefact import Artefact
from pytest_xenscrub.hypervisor.choice import ChosenXen
from pytest_xenscrub.hypervisor.variant import STOCK
from pytest_xenscrub.run.managed_host import ManagedHost

if TYPE_CHECKING:
    from pytest_xenscrub.host.protocol import Host

ARTEFACT = Artefact(
    elf=Path("xen"), gz=Path("xen.gz"), build_id="abc", config=Path("config"),
    symbols=Path("xen-syms"), log=Path("log"), version="4.17.5", debug=False, variant="stock",
    domctl=0x15, sysctl=0x15,
)  # fmt: skip
BANNER = "(XEN) Xen version 4.17.5\n"


class Deployment:
    """Fails to start, before or after the Xen was started.

    Args:
        error: what happens.
        log: the serial log since the Xen was started; None where it was not.
    """

    defers = None

    def __init__(self, error: Exception, log: str | None) -> None:
        self.error = error
        self.log = log

    def start(self) -> Host:
        raise self.error

    def blamed(self, error: XenScrubError) -> XenScrubError:
        return error if self.log is None else blamed(error, self.log)

    def stop(self, *, broken: bool) -> None: ...


def outcome(error: Exception, log: str | None, *, built: bool = True) -> XenScrubError:
    xen = ChosenXen(STOCK, ARTEFACT) if built else ChosenXen()
    with pytest.raises(XenScrubError) as caught:
        ManagedHost("lab7", xen, Deployment(error, log), lambda _: None).bring_up()
    return caught.value


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        InfrastructureError("too little memory", todo="close other programs"),
        MissingToolError("mmdebstrap was refused", todo="apt-get install uidmap"),
        CommandError("No space left on device", todo="make room in /boot"),
        ConfigurationError("GRUB is not set up", todo="GRUB_DEFAULT=saved"),
        Deadline.after(1, "which Xen runs").error(),
    ],
)
def test_before_the_xen_is_started_every_error_stays_as_it_is(
    error: Exception, built: bool
) -> None:
    assert outcome(error, None, built=built) is error


def test_what_dom0_answers_stays_as_it_is_once_the_xen_runs() -> None:
    error = InfrastructureError("dom0's Python has no Xen bindings", todo="install xen-utils")
    assert outcome(error, BANNER + "(XEN) Panic on CPU 0") is error


def test_silence_of_a_xen_that_died_is_its_own_failure() -> None:
    error = Deadline.after(1, "booting").error()
    told = outcome(error, BANNER + "(XEN) Panic on CPU 0")
    assert isinstance(told, XenFaultError)
    assert "Xen stock does not come up" in told.what
    assert "Panic on CPU 0" in told.evidence["serial log"]


def test_silence_without_a_log_is_undecided() -> None:
    told = outcome(Deadline.after(1, "booting").error(), "")
    assert isinstance(told, UndecidedError)
    assert "--xen-serial" in told.todo
