# SPDX-License-Identifier: MIT
"""The victim: the guest that fills its memory with a pattern, and ends."""

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
    """Run `work` in a thread; the future has its result, or its error."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the caller that waits gets it
            future.set_exception(error)

    threading.Thread(target=run, name="xenscrub-destroy", daemon=True).start()
    return future


class Victim:
    """The guest that is destroyed; `fill` creates it. Set the attributes before `fill`.

    Attributes:
        memory_bytes: the victim's memory.
        on_crash: what the toolstack does with the victim when it crashes.
        maximum_bytes: the memory that the victim's memory map shows; see `DomainConfig`.
    """

    def __init__(self, guests: GuestFactory, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.on_crash: OnCrash = "destroy"
        self.maximum_bytes: int | None = None
        self._guests = guests
        self._guest: Guest | None = None

    @property
    def guest(self) -> Guest:
        """The victim as a `Guest`.

        Raises:
            XenScrubError: the victim was not created yet.
        """
        if self._guest is None:
            raise XenScrubError("there is no victim yet", todo="call victim.fill() first")
        return self._guest

    def fill(self, actions: str = "fill") -> BitMap64:
        """Create the victim, and wait until it has filled its memory, or a sample of it.

        Waits first until the backlog of earlier guests is scrubbed, so that later measurements are
        of this victim alone.

        Args:
            actions: the victim's actions, as in the kernel's option `do=`.

        Returns:
            The victim's frames (MFNs).

        Raises:
            DisagreementError: the pattern is not in the victim's frames, seen from outside.
            XenFaultError: the victim itself does not find its pattern either.
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
        """Check that the pattern is seen from outside in the victim's frames.

        One full check for each host is enough if the guest names its frames, because the host's RAM
        stays at the same place in its memory file. Every end of a guest begins with a quick check
        of all frames anyway. A guest that does not know its frames is checked in full each time,
        because Xen's tables name them.
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
        """The frames that the victim has now (MFNs)."""
        return self.guest.frames

    def destroy(self, *, until: Until = "clean", seconds: float | None = None) -> Ended:
        """Destroy the victim through the toolstack, and watch its memory come back.

        Args:
            until: return when the victim is "gone", its memory is "free", or the backlog is 0
                ("clean").
            seconds: limit for the whole destroy; None for a limit by memory and host.
        """
        return self.guest.destroy(until=until, seconds=seconds)

    def start_destroy(
        self, *, until: Until = "free", seconds: float | None = None
    ) -> Future[Ended]:
        """Start `destroy` in the background; `result()` of the future waits for its end."""
        return in_background(lambda: self.guest.destroy(until=until, seconds=seconds))

    def end(
        self,
        how: str,
        *,
        told: str = "",
        until: Until = "clean",
        seconds: float | None = None,
    ) -> Ended:
        """Make the victim end by itself: "crash", "poweroff" or "reboot"; see `Guest.end`."""
        return self.guest.end(how, told=told, until=until, seconds=seconds)

    def balloon_out(self, pages: int) -> BitMap64:
        """Make the victim give back filled pages, as a balloon driver does.

        Returns:
            The frames that the victim gave back (MFNs).
        """
        self.guest.do(f"balloon={pages}")
        return self.guest.ballooned

    def punch(self, step: int, at: int = 0) -> BitMap64:
        """Make the victim give back single filled pages: those with number % `step` == `at`.

        A victim can do that once in its life.

        Returns:
            The frames that the victim gave back (MFNs).
        """
        self.guest.do(f"punch={step}:{at}")
        return self.guest.ballooned

    def verify(self) -> Verified:
        """Make the victim check that its pages still hold the pattern."""
        self.guest.do("verify")
        verified = self.guest.last(Verified)
        assert verified is not None  # noqa: S101 - the decoder owes one before ready
        return verified
