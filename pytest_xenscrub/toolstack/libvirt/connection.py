# SPDX-License-Identifier: MIT
"""The connection to the libvirt of one dom0: makes it, checks it, and never reuses a stale one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import libvirt

from pytest_xenscrub.deadline import OUT_OF_TIME, Deadline
from pytest_xenscrub.errors import (
    CommandError,
    HostStalledError,
    InfrastructureError,
    XenHungError,
)
from pytest_xenscrub.toolstack.libvirt import api
from pytest_xenscrub.toolstack.libvirt.diagnosis import (
    DAEMON_LOG,
    DAEMON_THREADS,
    waits_for_itself,
    why_not,
)
from pytest_xenscrub.toolstack.libvirt.lifecycle import Lifecycle
from pytest_xenscrub.toolstack.libvirt.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.dom0.client import Dom0

_OPEN_SECONDS = 60.0
_CLOSE_SECONDS = 3.0
_LOG_SECONDS = 10.0
# After so many keep-alive messages without an answer, libvirt closes the connection, and all its
# calls end.
_KEEP_ALIVE_SECONDS = 5
_KEEP_ALIVE_COUNT = 3

P = ParamSpec("P")
T = TypeVar("T")


class LibvirtConnection:
    """A connection. Once a call on it took too long, it is never used again.

    Attributes:
        dom0: the dom0.
        transport: the way to libvirt's daemon.
        lifecycle: libvirt's events about domains.
        hung: whether a call on it did not end in time.
        virt: libvirt's own object.

    Raises:
        InfrastructureError: libvirt cannot be used; the error says why, and what to do.
    """

    def __init__(self, dom0: Dom0, tag: str) -> None:
        self.dom0 = dom0
        self.lifecycle = Lifecycle(dom0)
        self.transport = Transport(dom0.host, tag)
        self.hung = False
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
                    "libvirtd's log": self._printed(DAEMON_LOG),
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

    def _printed(self, script: str) -> str:
        """What a script prints in dom0 of libvirt's daemon; empty if it cannot be run."""
        with contextlib.suppress(Exception):
            deadline = Deadline.after(_LOG_SECONDS, "asking about libvirt's daemon")
            return self.dom0.run(["sh", "-c", script], deadline=deadline).stdout[-3000:]
        return ""

    @property
    def alive(self) -> bool:
        """Whether the connection can still be used."""
        return not self._lost and bool(self.virt.isAlive())

    def call(
        self, deadline: Deadline, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function of libvirt on this connection.

        Raises:
            CommandError: libvirt refused; has libvirt's code, domain and message.
            XenHungError: the call hung; the connection is lost; see `api.call`.
            HostStalledError: dom0 is dead; the connection is lost.
        """
        try:
            return api.call(self.dom0, deadline, function, *args, **kwargs)
        except libvirt.libvirtError as error:
            raise api.as_ours(error, deadline.step, {}) from None
        except (*OUT_OF_TIME, HostStalledError) as error:
            self.hung = self._lost = True
            threads = self._printed(DAEMON_THREADS) if isinstance(error, XenHungError) else ""
            self.transport.kill()
            if waits_for_itself(threads):
                raise InfrastructureError(
                    f"{deadline.step}: libvirt's daemon in dom0 waits for a lock of its own, and"
                    " not for Xen",
                    todo="systemctl restart libvirtd (or virtxend) in dom0: it is libvirt's fault",
                    evidence={"the daemon's threads": threads, **error.evidence},
                ) from None
            raise

    def find(self, domid: int, deadline: Deadline) -> libvirt.virDomain:
        """Find a domain by its number; raises as `call` does.

        Waits for a domain that Xen has and libvirt does not know yet: after a reboot it is still
        being built.
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
            # Ends all calls on the connection at once, those below, too.
            self.transport.kill()
        self._lost = True
        deadline = Deadline.after(_CLOSE_SECONDS, "closing libvirt's connection")
        with contextlib.suppress(Exception):
            api.call(self.dom0, deadline, self._say_goodbye)
        self.lifecycle.closed()
        self.transport.kill()
        self.transport.close()

    def _say_goodbye(self) -> None:
        # One by one, because a registered callback keeps libvirt's object and so the connection.
        with contextlib.suppress(libvirt.libvirtError):
            self.virt.unregisterCloseCallback()
        events, self._events = self._events, None
        if events is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self.virt.domainEventDeregisterAny(events)
        self.virt.close()


class Keeper:
    """Holds the connection of a run: makes it on first use, and again when it is stale."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._connection: LibvirtConnection | None = None
        self._unreachable: Dom0 | None = None

    def hangs(self, dom0: Dom0 | None) -> bool:
        """Whether the libvirt of this dom0 could not be connected to in time, or a call hung."""
        if dom0 is None:
            return False
        held = self._connection
        return self._unreachable is dom0 or (held is not None and held.dom0 is dom0 and held.hung)

    def get(self, dom0: Dom0) -> LibvirtConnection:
        """The connection to this dom0; raises as `LibvirtConnection` does.

        After a reset, the host has another agent, and so another `dom0` here.
        """
        held = self._connection
        if held is not None and (held.dom0 is not dom0 or not held.alive):
            self.close()
        if self._connection is None:
            try:
                self._connection = LibvirtConnection(dom0, self._tag)
            except OUT_OF_TIME:
                self._unreachable = dom0
                raise
        return self._connection

    def close(self) -> None:
        """Close the connection. Never raises, may be called twice."""
        held, self._connection = self._connection, None
        if held is not None:
            held.close()
