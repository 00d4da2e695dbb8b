# SPDX-License-Identifier: MIT
"""libvirt's library: runs its event loop, translates its errors, and limits its calls in time."""

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
    """Start libvirt's event loop in a thread, once per process: events, keep-alive, streams."""
    # libvirt's own handler would print every error on stderr, including expected ones.
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
    """Translate an error of libvirt."""
    return CommandError(
        f"{step}: {error.get_error_message() or error}",
        evidence={"libvirt": facts_of(error), **evidence},
    )


def call(
    dom0: Dom0, deadline: Deadline, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function of libvirt, at most until the deadline, or until dom0 is dead.

    libvirt's own calls have no time limit. A call that was given up goes on in its thread until its
    connection is closed.

    Raises:
        libvirt.libvirtError: libvirt's error; the caller translates it if it knows its meaning.
        XenHungError: nothing moved in dom0 any more, or the call took too long;
            `DeadlineExceededError` if the deadline does not blame Xen.
        HostStalledError: dom0 does not answer any more.
    """
    number = next(_CALLS)
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # raised in the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="xenscrub-libvirt-call", daemon=True).start()
    while True:
        with contextlib.suppress(TimeoutError):
            return future.result(min(deadline.remaining, _WAIT_SECONDS))
        deadline.check(**dom0.evidence())
        dom0.check_alive(deadline.step)
        if deadline.blames_xen:
            dom0.check_moving(deadline.step, number)
