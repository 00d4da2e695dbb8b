# SPDX-License-Identifier: MIT
"""The connection to the libvirt of one dom0: made, checked, and never used once it is stale."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import libvirt

from pytest_xenscrub.deadline import OUT_OF_TIME, Deadline
from pytest_xenscrub.errors import (
    CommandError,
    HostStalledError,
    InfrastructureError,
)
from pytest_xenscrub.toolstack.libvirt import api
from pytest_xenscrub.toolstack.libvirt.diagnosis import DAEMON_LOG, why_not
from pytest_xenscrub.toolstack.libvirt.lifecycle import Lifecycle
from pytest_xenscrub.toolstack.libvirt.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.dom0.client import Dom0

_OPEN_SECONDS = 60.0
_CLOSE_SECONDS = 3.0
_LOG_SECONDS = 10.0
# This often without an answer, and the connection is closed, with it every call under way.
_KEEP_ALIVE_SECONDS = 5
_KEEP_ALIVE_COUNT = 3

P = ParamSpec("P")
T = TypeVar("T")


class LibvirtConnection:
    """One connection. It is lost for good when a call on it took too long.

    Attributes:
        dom0: whose libvirt it is.
        transport: how it gets there.
        lifecycle: what libvirt tells of domains.
        virt: libvirt's own object.

    Raises:
        InfrastructureError: there is no libvirt that can be used; says why, and how to mend it.
    """

    def __init__(self, dom0: Dom0, tag: str) -> None:
        self.dom0 = dom0
        self.lifecycle = Lifecycle(dom0)
        self.transport = Transport(dom0.host, tag)
        self._lost = False
        self._events: int | None = None
        try:
            self.virt = self._open()
        except BaseException:
            self.transport.kill()
            self.transport.close()
            raise

    def _open(self) -> libvirt.virConnect:
        api.start_event_loop()
        name, uri = self.dom0.host.name, self.transport.uri
        deadline = Deadline.after(_OPEN_SECONDS, f"{name}: connecting to libvirt")
        try:
            virt = api.call(self.dom0, deadline, libvirt.open, uri)
            kind = api.call(self.dom0, deadline, virt.getType)
            if kind == "Xen":
                api.call(self.dom0, deadline, self._listen, virt)
                return virt
        except libvirt.libvirtError as error:
            what, todo = why_not(self.transport.daemon, error)
            raise InfrastructureError(
                f"{name}: {what}",
                tried=uri,
                todo=todo,
                evidence={
                    "libvirt": api.facts_of(error),
                    "ssh": self.transport.complaints,
                    "libvirtd's log": self._daemon_log(),
                },
            ) from None
        raise InfrastructureError(
            f"{name}: libvirt answered with its {kind} driver, not with Xen's",
            tried=uri,
            todo="boot the host under Xen, and give its libvirt the driver for it:"
            " apt-get install libvirt-daemon-driver-xen",
        )

    def _listen(self, virt: libvirt.virConnect) -> None:
        virt.setKeepAlive(_KEEP_ALIVE_SECONDS, _KEEP_ALIVE_COUNT)
        virt.registerCloseCallback(lambda *_: self.lifecycle.closed(), None)
        self._events = virt.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self.lifecycle.heard, None
        )

    def _daemon_log(self) -> str:
        with contextlib.suppress(Exception):
            deadline = Deadline.after(_LOG_SECONDS, "reading libvirtd's log")
            return self.dom0.run(["sh", "-c", DAEMON_LOG], deadline=deadline).stdout[-3000:]
        return ""

    @property
    def alive(self) -> bool:
        """Whether the connection can still be used."""
        return not self._lost and bool(self.virt.isAlive())

    def call(
        self, deadline: Deadline, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A call on this connection.

        Raises:
            CommandError: libvirt refused; with its code, domain and message.
            XenHungError: it hung; the connection is lost; see `api.call`.
            HostStalledError: dom0 is dead; the connection is lost.
        """
        try:
            return api.call(self.dom0, deadline, function, *args, **kwargs)
        except libvirt.libvirtError as error:
            raise api.as_ours(error, deadline.step, {}) from None
        except (*OUT_OF_TIME, HostStalledError):
            self._lost = True
            self.transport.kill()
            raise

    def find(self, domid: int, deadline: Deadline) -> libvirt.virDomain:
        """A domain by its number; raises as `call` does.

        One that Xen has and libvirt does not is still being built, after a reboot: it is waited
        for.
        """
        try:
            return self.call(deadline, self.virt.lookupByID, domid)
        except CommandError:
            if not any(d.domid == domid and not d.dying for d in self.dom0.domains()):
                raise
        self.lifecycle.wait_started(domid, deadline)
        return self.call(deadline, self.virt.lookupByID, domid)

    def close(self) -> None:
        """Close the connection. Never raises; may be called twice."""
        if not self.alive:
            # What is still under way on it, and what follows here, fails at once then.
            self.transport.kill()
        self._lost = True
        deadline = Deadline.after(_CLOSE_SECONDS, "closing libvirt's connection")
        with contextlib.suppress(Exception):
            api.call(self.dom0, deadline, self._say_goodbye)
        self.lifecycle.closed()
        self.transport.kill()
        self.transport.close()

    def _say_goodbye(self) -> None:
        # Each for itself: what is registered keeps libvirt's object, and with it the connection.
        with contextlib.suppress(libvirt.libvirtError):
            self.virt.unregisterCloseCallback()
        events, self._events = self._events, None
        if events is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self.virt.domainEventDeregisterAny(events)
        self.virt.close()


class Keeper:
    """Has the connection of a run: made when it is first asked for, and anew when it is stale."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._connection: LibvirtConnection | None = None

    def get(self, dom0: Dom0) -> LibvirtConnection:
        """The connection to this dom0; raises as `LibvirtConnection` does.

        After a reset, the host has another agent, and so another dom0 here.
        """
        held = self._connection
        if held is not None and (held.dom0 is not dom0 or not held.alive):
            self.close()
        if self._connection is None:
            self._connection = LibvirtConnection(dom0, self._tag)
        return self._connection

    def close(self) -> None:
        """Close it. Never raises, may be called twice."""
        held, self._connection = self._connection, None
        if held is not None:
            held.close()
