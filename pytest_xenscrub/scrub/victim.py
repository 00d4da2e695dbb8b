# SPDX-License-Identifier: MIT
"""The guest that fills its memory with a pattern, and ends."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from pytest_xenscrub.errors import DisagreementError, XenScrubError
from pytest_xenscrub.guest.events import Filled, Hello, Verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroaring import BitMap64

    from pytest_xenscrub.dom0.answers import Until
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended, Guest
    from pytest_xenscrub.toolstack.protocol import OnCrash

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own, which ends with it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it belongs to the one who waits
            future.set_exception(error)

    threading.Thread(target=run, name="xenscrub-destroy", daemon=True).start()
    return future


class Victim:
    """A victim, created when it is first told to fill.

    Attributes:
        memory_bytes: its memory; may be changed until it is created.
        on_crash: what becomes of it when it crashes; may be changed until it is created.
        maximum_bytes: what its memory map shows; may be changed until it is created. See
            `DomainConfig`.
    """

    def __init__(self, guests: GuestFactory, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.on_crash: OnCrash = "destroy"
        self.maximum_bytes: int | None = None
        self._guests = guests
        self._guest: Guest | None = None

    @property
    def guest(self) -> Guest:
        """The guest behind it.

        Raises:
            XenScrubError: it was not created yet.
        """
        if self._guest is None:
            raise XenScrubError("there is no victim yet", todo="call victim.fill() first")
        return self._guest

    def fill(self, actions: str = "fill") -> BitMap64:
        """Create it, and wait until every page that it owns holds its pattern, or its sample does.

        The backlog is waited for first, so that what is measured later is this victim's.

        Args:
            actions: what it does, as the kernel's `do=` has it.

        Returns:
            Its frames (MFNs).

        Raises:
            DisagreementError: from outside its frames are not seen to hold what it wrote.
            XenFaultError: nor does it see that itself.
        """
        guests = self._guests
        dom0 = guests.dom0
        dom0.wait_drained(dom0.patience("backlog of earlier guests", dom0.total_bytes))
        self._guest = guests.create(
            "victim", self.memory_bytes, actions,
            on_crash=self.on_crash, maximum_bytes=self.maximum_bytes,
        )  # fmt: skip
        self._guest.ready()
        self._prove()
        return self.frames

    def _prove(self) -> None:
        """See that its frames are where we look for them from outside.

        In full once for each host: where RAM lies does not change, and each end of a guest begins
        with a quick look at all of its frames. A guest that does not know them itself is looked at
        each time: there is only Xen's word on them.
        """
        witness = self._guests.witness
        named = self.guest.config.type == "pv"
        if witness is None or (witness.oracle.proven and named):
            return
        filled, hello, pages = self.guest.last(Filled), self.guest.last(Hello), self.guest.map
        if filled and hello and pages:
            frames = None if filled.sample is None else self.guest.filled_frames
            try:
                witness.oracle.prove(
                    self.guest.name, *pages.arrays(frames),
                    run=hello.run, guest=hello.guest, filled=filled.pages, named=named,
                )  # fmt: skip
            except DisagreementError as error:
                raise self.guest.who_is_right(error) from None

    @property
    def frames(self) -> BitMap64:
        """The frames that it has now (MFNs)."""
        return self.guest.frames

    def destroy(self, *, until: Until = "clean", seconds: float | None = None) -> Ended:
        """Destroy it through the toolstack and watch its memory come back.

        Args:
            until: return when it is "gone", its memory is "free", or the backlog is 0 ("clean").
            seconds: what that may take in all; None for what suits its memory and this host.
        """
        return self.guest.destroy(until=until, seconds=seconds)

    def start_destroy(
        self, *, until: Until = "free", seconds: float | None = None
    ) -> Future[Ended]:
        """As `destroy`, and go on while it dies: `result()` waits for it, `done()` tells."""
        return in_background(lambda: self.guest.destroy(until=until, seconds=seconds))

    def end(
        self,
        how: str,
        *,
        told: str = "",
        until: Until = "clean",
        seconds: float | None = None,
    ) -> Ended:
        """Have it end by itself: "crash", "poweroff" or "reboot"; see `Guest.end`."""
        return self.guest.end(how, told=told, until=until, seconds=seconds)

    def balloon_out(self, pages: int) -> BitMap64:
        """Have it give back filled pages, as a balloon driver does.

        Returns:
            The frames that it gave back (MFNs).
        """
        self.guest.do(f"balloon={pages}")
        return self.guest.ballooned

    def punch(self, step: int, at: int = 0) -> BitMap64:
        """Have it give back single filled pages: each whose number leaves `at`, divided by `step`.

        Once in its life.

        Returns:
            The frames that it gave back (MFNs).
        """
        self.guest.do(f"punch={step}:{at}")
        return self.guest.ballooned

    def verify(self) -> Verified:
        """Have it look whether its pages still hold what it wrote there."""
        self.guest.do("verify")
        verified = self.guest.last(Verified)
        assert verified is not None  # noqa: S101 - the decoder owes one before ready
        return verified
