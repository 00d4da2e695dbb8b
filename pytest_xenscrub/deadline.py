# SPDX-License-Identifier: MIT
"""`Deadline`: an end in time that callers hand down to each step.

A deadline knows what is at fault when it passes. `Deadline.after` is for waits on what is around
Xen: images, networks, power switches, compilers. `Deadline.for_xen` is for waits on Xen: dom0, the
toolstack, a guest, the scrubber. The clock of the latter stops while other work keeps the host from
running, so that a busy machine does not look like a hang.
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
"""Default of `--xen-hang-seconds`: seconds without progress that count as a hang."""
MOST_STRETCH: Final = 4
"""Factor by which a wait may grow in all while the host's clock stops."""
STARVED_SHARE: Final = 0.2
"""Share of a wait above which the host was too starved to blame Xen."""
NOT_STARVED: Final = (
    "run it again while nothing else keeps this machine's CPUs busy, or on a machine of its own"
)

OUT_OF_TIME: Final = (DeadlineExceededError, XenHungError, UndecidedError)
"""The errors that a deadline may raise."""


def hung(
    what: str, *, seconds: float, starved: float, evidence: dict[str, str] | None = None
) -> XenHungError | UndecidedError:
    """The error for a wait on Xen: a hang, unless other work starved the host meanwhile.

    Args:
        what: what did not happen, in a sentence.
        seconds: length of the wait, s.
        starved: part of the wait in which other work kept the host from running, s.
        evidence: as in every error.
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
        step: the step that is waited for, as named in the error: "xl create victim-1".
        seconds: time that the step has, s.
        end: `time.monotonic()` at which the step has failed, s, if the host is not starved.
        starved_seconds: says for how long other work has kept the host from running so far, s;
            None if the wait is not for Xen.
        starved_before: value of `starved_seconds` when the deadline was set, s.
        hard_end: `time.monotonic()` at which the step has failed even if the host is starved, s.
    """

    step: str
    seconds: float
    end: float
    starved_seconds: Callable[[], float] | None = None
    starved_before: float = 0.0
    hard_end: float = 0.0

    @classmethod
    def after(cls, seconds: float, step: str) -> Deadline:
        """A deadline `seconds` from now; when it passes, infrastructure is at fault."""
        return cls(step, seconds, time.monotonic() + seconds)

    @classmethod
    def for_xen(cls, seconds: float, step: str, starved_seconds: Callable[[], float]) -> Deadline:
        """A deadline for a wait on Xen; when it passes, Xen is at fault unless the host starved.

        Args:
            seconds: time that the step has, s, not counting time in which the host is starved.
            step: the step that is waited for.
            starved_seconds: says for how long other work has kept the host from running so far, s.
        """
        now = time.monotonic()
        return cls(
            step, seconds, now + seconds,
            starved_seconds, starved_seconds(), now + MOST_STRETCH * seconds,
        )  # fmt: skip

    def within(self, seconds: float, step: str) -> Deadline:
        """A deadline for a part of this step, not later than this one, with the same fault.

        A part that waits for something else needs its own deadline.
        """
        seconds = min(seconds, self.remaining)
        if self.starved_seconds is None:
            return Deadline.after(seconds, step)
        return Deadline.for_xen(seconds, step, self.starved_seconds)

    @property
    def blames_xen(self) -> bool:
        """Whether the wait is for Xen."""
        return self.starved_seconds is not None

    @property
    def starved(self) -> float:
        """Time in which other work kept the host from running since the deadline was set, s."""
        if self.starved_seconds is None:
            return 0.0
        # An emulated host that has ended reports no starvation.
        return max(0.0, self.starved_seconds() - self.starved_before)

    @property
    def remaining(self) -> float:
        """Time left, s; 0 once the deadline has passed."""
        end = self.end
        if self.blames_xen:
            end = min(end + self.starved, self.hard_end)
        return max(0.0, end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.remaining <= 0

    def check(self, **evidence: str) -> None:
        """Raise `error()` with this evidence if the deadline has passed."""
        if self.passed:
            raise self.error(**evidence)

    def error(self, what: str = "", /, **evidence: str) -> XenScrubError:
        """The error of a deadline that has passed, with the text `what`.

        `DeadlineExceededError`; for a wait on Xen `XenHungError`, or `UndecidedError` if other work
        starved the host for more than a share of the wait.
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
