# SPDX-License-Identifier: MIT
"""A run's host with one Xen: started when needed, started again after it broke."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap64

from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.errors import (
    HostUnusableError,
    InfrastructureError,
    XenFaultError,
    XenScrubError,
)
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from pytest_xenscrub.boot.deploy import Deployment
    from pytest_xenscrub.dom0.answers import XenInfo
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.outside.oracle import Oracle
    from pytest_xenscrub.telling import Say

_HEALTH_SECONDS = 10.0
_SETTLE_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_GIVE_UP_AFTER = 2


@dataclass(frozen=True)
class RunningXen:
    """A running host, with the Xen that the user chose.

    Attributes:
        xen: the Xen that the user chose.
        host: the host.
        dom0: the agent in the host's dom0.
        info: version, build id and more of the Xen that runs.
        oracle: the host's RAM seen from outside; None for a real host.
        defers: whether this Xen leaves unscrubbed pages after a destroy; None if unknown.
    """

    xen: ChosenXen
    host: Host
    dom0: Dom0
    info: XenInfo
    oracle: Oracle | None
    defers: bool | None

    @property
    def name(self) -> str:
        """The name of the chosen Xen: "stock", "as-is"."""
        return self.xen.name


class ManagedHost:
    """A host, the Xen that runs there, and whether the host is still healthy.

    Attributes:
        xen: the Xen to run.
        given_back: frames that are free and dirty by contract, because live guests gave them back.

    Args:
        name: the host's name, as the user wrote it.
        xen: the Xen to run.
        deployment: boots the Xen.
        say: prints a line for the user when something takes long or has happened.
        hang_seconds: seconds without progress that count as a hang.
    """

    def __init__(
        self,
        name: str,
        xen: ChosenXen,
        deployment: Deployment,
        say: Say,
        *,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self.xen = xen
        self.given_back = BitMap64()
        self._name = name
        self._deployment = deployment
        self._say = say
        self._hang_seconds = hang_seconds
        self._up: RunningXen | None = None
        self._broken = ""
        self._breaks = 0
        self._measured = False

    # -- what tests use ------------------------------------------------------------------------

    def bring_up(self) -> RunningXen:
        """Start the host if needed, and return it; takes ten minutes if a machine must boot.

        Returns at once if the host is up.

        Raises:
            HostUnusableError: the host broke before, and was given up.
            XenFaultError: the Xen that was asked for does not come up.
            InfrastructureError: the host cannot be used.
        """
        up = self._up
        if up is not None and not self._broken:
            if up.dom0.alive:
                return up
            self.broke("the connection to dom0 was lost")
        if self._breaks >= _GIVE_UP_AFTER:
            raise HostUnusableError(
                f"{self._name}: host unusable with Xen {self.xen.name}: {self._broken}"
            )
        if self._broken:
            self._say(f"{self._name}: made anew, because: {self._broken}")
        self.close()
        up = self._up = self._start_or_latch()
        self._broken = ""
        return up

    @property
    def up(self) -> RunningXen | None:
        """The host that is up, healthy or not; None if none is. Starts nothing."""
        return self._up

    @property
    def running(self) -> Dom0 | None:
        """The agent of the host that is up; None if none is. Starts nothing."""
        return None if self._up is None else self._up.dom0

    def first_measurement(self) -> bool:
        """Whether this is the first call since the host was started: its caches are cold then."""
        first, self._measured = not self._measured, True
        return first

    def describe(self) -> str:
        """One line on what runs where."""
        return "not started" if self._up is None else self._described(self._up)

    def _described(self, up: RunningXen) -> str:
        info = up.info
        return (
            f"{up.host.name}: {up.host.kind}, Xen {info.version} debug="
            f"{'y' if info.debug else 'n'} ({self.xen.name}), {gib(info.total_bytes)},"
            f" {info.cpus} CPUs"
        )

    # -- its health ----------------------------------------------------------------------------

    def broke(self, why: str) -> None:
        """Mark the host as broken, so that it is started again before its next use."""
        if not self._broken:
            self._breaks += 1
        self._broken = self._broken or why.splitlines()[0]

    def healthy(self) -> bool:
        """Whether dom0 still answers; if it does not, mark the host as broken."""
        if self._broken or self._up is None:
            return False
        dom0 = self._up.dom0
        try:
            # Any answer shows that dom0 is alive.
            dom0.ping(dom0.patience("dom0's answer", seconds=_HEALTH_SECONDS))
        except XenScrubError as error:
            self.broke(str(error))
            return False
        return True

    def passed(self) -> None:
        """Note that a test passed, so that earlier breaks of the host do not count any more."""
        self._breaks = 0

    # -- its life ------------------------------------------------------------------------------

    def _start_or_latch(self) -> RunningXen:
        """Start the host; give the host up if it does not come up."""
        try:
            return self._start()
        except BaseException as error:
            if isinstance(error, Exception):
                self._breaks = _GIVE_UP_AFTER
                self._broken = str(error).splitlines()[0]
            told = self._told(error)
            self.close()
            if told is error:
                raise
            raise told from None

    def _told(self, error: BaseException) -> BaseException:
        """The error to raise if a built Xen does not come up; names that Xen if it is to blame."""
        if self.xen.artefact is None or not isinstance(error, XenScrubError):
            return error
        error = self._deployment.blamed(error)
        if not isinstance(error, XenFaultError):
            return error
        return XenFaultError(
            f"{self._name}: Xen {self.xen.name} does not come up: {error.what}",
            tried=error.tried,
            todo=error.todo or "look at the serial log; does --xen-variant=stock boot?",
            evidence=error.evidence,
        )

    def _start(self) -> RunningXen:
        from pytest_xenscrub.dom0.client import Dom0  # noqa: PLC0415 - only when a host is used

        host = self._deployment.start()
        self.given_back.clear()
        dom0 = Dom0(host, hang_seconds=self._hang_seconds)
        try:
            info = dom0.info()
            self._check_build_id(info)
            up = RunningXen(
                self.xen, host, dom0, info, _settled(host, info), self._deployment.defers
            )
        except BaseException:
            _end(dom0, broken=True)
            raise
        self._say(self._described(up))
        return up

    def _check_build_id(self, info: XenInfo) -> None:
        artefact = self.xen.artefact
        if artefact is not None and info.build_id != artefact.build_id:
            raise InfrastructureError(
                f"{self._name}: another Xen runs than the one that was built:"
                f" build id {info.build_id or 'none'} in place of {artefact.build_id}",
                todo="look at the host's boot entry and serial log",
            )

    def close(self) -> None:
        """Give the host back. Never raises, may be called twice."""
        up, self._up = self._up, None
        broken = bool(self._broken) or (up is not None and not up.dom0.alive)
        self._measured = False
        if up is not None:
            if up.oracle is not None:
                up.oracle.ram.close()
            _end(up.dom0, broken=broken)
        self._deployment.stop(broken=broken)


def _settled(host: Host, info: XenInfo) -> Oracle | None:
    """The host's RAM seen from outside, once the host runs at full speed; None for a real host."""
    if host.outside is None:
        return None
    from pytest_xenscrub.outside.oracle import Oracle  # noqa: PLC0415 - only with a host

    host.outside.settle(Deadline.after(_SETTLE_SECONDS, f"{host.name}: settling"))
    return Oracle(host.outside.memory, info.clean_byte)


def _end(dom0: Dom0, *, broken: bool) -> None:
    with contextlib.suppress(Exception):
        dom0.close(grace=0.0 if broken else _CLOSE_SECONDS)
