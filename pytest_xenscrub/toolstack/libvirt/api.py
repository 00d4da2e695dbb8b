# SPDX-License-Identifier: MIT
"""libvirt's library: its event loop, its errors as ours, its calls with an end."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import libvirt

from pytest_xenscrub.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.client import Dom0

_WAIT_SECONDS = 1.0
_CALLS = itertools.count()
_LEVELS = ("VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR")

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def start_event_loop() -> None:
    """Run libvirt's event loop in a thread, once for this process: events, keep-alive, streams."""
    # Its own handler prints every error on stderr, those too that are expected and dealt with.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            with contextlib.suppress(libvirt.libvirtError):
                libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="xenscrub-libvirt-events", daemon=True).start()


def _name(prefix: str, value: int) -> str:
    """`VIR_ERR_NO_DOMAIN` for 42."""
    constants: dict[str, object] = vars(libvirt)
    for name, constant in constants.items():
        if name.startswith(prefix) and constant == value and name not in _LEVELS:
            return name
    return "unknown"


def facts_of(error: libvirt.libvirtError) -> str:
    """Code, domain and message: `code 42 (VIR_ERR_NO_DOMAIN), domain 41 (VIR_FROM_LIBXL): ...`."""
    code, domain = error.get_error_code() or 0, error.get_error_domain() or 0
    return (
        f"code {code} ({_name('VIR_ERR_', code)}),"
        f" domain {domain} ({_name('VIR_FROM_', domain)}): {error.get_error_message() or error}"
    )


def as_ours(error: libvirt.libvirtError, step: str, evidence: dict[str, str]) -> CommandError:
    """The error to raise for one of libvirt's."""
    return CommandError(
        f"{step}: {error.get_error_message() or error}",
        evidence={"libvirt": facts_of(error), **evidence},
    )


def call(
    dom0: Dom0, deadline: Deadline, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call into libvirt, and wait no longer than the deadline, nor for a dom0 that is dead.

    libvirt's own calls have no limit of time. One that was given up goes on in its thread until
    its connection is closed.

    Raises:
        libvirt.libvirtError: libvirt's own; translate it where it is known what it means.
        XenHungError: nothing moved in dom0 any more, or it took too long; where the deadline does
            not blame Xen, `DeadlineExceededError`.
        HostStalledError: dom0 does not answer any more.
    """
    number = next(_CALLS)
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # it belongs to the one who waits
            future.set_exception(error)

    threading.Thread(target=run, name="xenscrub-libvirt-call", daemon=True).start()
    while True:
        with contextlib.suppress(TimeoutError):
            return future.result(min(deadline.remaining, _WAIT_SECONDS))
        deadline.check(**dom0.evidence())
        dom0.check_alive(deadline.step)
        if deadline.blames_xen:
            dom0.check_moving(deadline.step, number)
