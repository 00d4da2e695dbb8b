# SPDX-License-Identifier: MIT
"""A point in time that is handed down, so that every step knows what its caller can still wait.

A deadline knows whom it blames. `Deadline.after` is for what is around Xen: images, networks, power
switches, compilers. `Deadline.for_xen` is for waits in which Xen is what is waited for: dom0, the
toolstack, a guest, the scrubber. Its clock stands still while the host is kept from running, so
that a busy machine does not make a hang.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import (
    DeadlineExceededError,
    UndecidedError,
    XenHungError,
    XenScrubError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HANG_SECONDS: Final = 60.0
"""For how long nothing may move before that is a hang, s, unless the user says otherwise."""
MOST_STRETCH: Final = 4
"""A clock that stands still is waited for this many times as long as one that does not."""
STARVED_SHARE: Final = 0.2
"""Share of a wait above which its host was too starved for anyone to blame Xen."""
NOT_STARVED: Final = (
    "run it again while nothing else keeps this machine's CPUs busy, or on a machine of its own"
)

OUT_OF_TIME: Final = (DeadlineExceededError, XenHungError, UndecidedError)
"""What a deadline raises, whomever it blames."""


def hung(
    what: str, *, seconds: float, starved: float, evidence: dict[str, str] | None = None
) -> XenHungError | UndecidedError:
    """The error for a Xen that was waited for: a hang, unless the host was starved meanwhile.

    Args:
        what: what did not come, in a sentence.
        seconds: how long it was waited for, starved or not, s.
        starved: how long of that this machine kept the host from running, s.
        evidence: as every error has it.
    """
    if starved <= STARVED_SHARE * seconds:
        return XenHungError(what, evidence=evidence)
    return UndecidedError(
        f"{what}; for {starved:.0f} of {seconds:.0f} s other work kept the host from running, so"
        " it cannot be told whether Xen hangs",
        todo=NOT_STARVED,
        evidence=evidence,
    )


@dataclass(frozen=True)
class Deadline:
    """An end on this machine's monotonic clock.

    Attributes:
        step: what is being waited for, named in the error: "xl create victim-1".
        seconds: how long the step was given, s.
        end: `time.monotonic()` at which it has failed, s, if the host is not starved.
        starved_seconds: how long the host has been kept from running so far, s; None where it is
            not Xen that is waited for.
        starved_before: what that was when the deadline was set, s.
        hard_end: `time.monotonic()` at which it has failed however starved the host is, s.
    """

    step: str
    seconds: float
    end: float
    starved_seconds: Callable[[], float] | None = None
    starved_before: float = 0.0
    hard_end: float = 0.0

    @classmethod
    def after(cls, seconds: float, step: str) -> Deadline:
        """A deadline `seconds` from now for `step`; infrastructure is to blame if it passes."""
        return cls(step, seconds, time.monotonic() + seconds)

    @classmethod
    def for_xen(cls, seconds: float, step: str, starved_seconds: Callable[[], float]) -> Deadline:
        """A deadline for a step in which Xen is waited for, and blamed unless the host starves.

        Args:
            seconds: how long it may take, s; time in which the host is starved does not count.
            step: what is waited for.
            starved_seconds: how long the host has been kept from running so far, s.
        """
        now = time.monotonic()
        return cls(
            step, seconds, now + seconds,
            starved_seconds, starved_seconds(), now + MOST_STRETCH * seconds,
        )  # fmt: skip

    def within(self, seconds: float, step: str) -> Deadline:
        """A deadline for a part of this step, never after this one; it blames whom this one does.

        A part that waits for somebody else needs a deadline of its own.
        """
        seconds = min(seconds, self.remaining)
        if self.starved_seconds is None:
            return Deadline.after(seconds, step)
        return Deadline.for_xen(seconds, step, self.starved_seconds)

    @property
    def blames_xen(self) -> bool:
        """Whether Xen is waited for."""
        return self.starved_seconds is not None

    @property
    def starved(self) -> float:
        """How long the host has been kept from running since the deadline was set, s."""
        if self.starved_seconds is None:
            return 0.0
        # An emulated host that has ended tells of no starvation at all.
        return max(0.0, self.starved_seconds() - self.starved_before)

    @property
    def remaining(self) -> float:
        """Time left, s; 0 once it has passed."""
        end = self.end
        if self.blames_xen:
            end = min(end + self.starved, self.hard_end)
        return max(0.0, end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.remaining <= 0

    def check(self, **evidence: str) -> None:
        """Raise `error()` with the evidence given if the time is over."""
        if self.passed:
            raise self.error(**evidence)

    def error(self, what: str = "", /, **evidence: str) -> XenScrubError:
        """The error to raise where something else noticed first that the time is over.

        Its text is `what`, or that the step was not done.

        `DeadlineExceededError`; where Xen is waited for `XenHungError`, or `UndecidedError` if the
        host was starved for more than a share of the wait.
        """
        if not self.blames_xen:
            return DeadlineExceededError(
                what or f"{self.step}: not done after {self.seconds:.0f} s", evidence=evidence
            )
        waited = max(self.seconds, time.monotonic() - (self.end - self.seconds))
        return hung(
            what or f"{self.step}: not done after {waited:.0f} s",
            seconds=waited, starved=self.starved, evidence=evidence,
        )  # fmt: skip
