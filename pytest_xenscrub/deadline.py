# SPDX-License-Identifier: MIT
"""A point in time that is handed down, so that every step knows what its caller can still wait."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pytest_xenscrub.errors import DeadlineExceededError


@dataclass(frozen=True)
class Deadline:
    """An end on this machine's monotonic clock.

    Attributes:
        step: what is being waited for, named in the error: "xl create victim-1".
        seconds: how long the step was given, s.
        end: `time.monotonic()` at which it has failed, s.
    """

    step: str
    seconds: float
    end: float

    @classmethod
    def after(cls, seconds: float, step: str) -> Deadline:
        """A deadline `seconds` from now for `step`."""
        return cls(step, seconds, time.monotonic() + seconds)

    def within(self, seconds: float, step: str) -> Deadline:
        """A deadline for a part of this step: `seconds` from now, but never after this one."""
        end = min(time.monotonic() + seconds, self.end)
        return Deadline(step, min(seconds, self.remaining), end)

    @property
    def remaining(self) -> float:
        """Time left, s; 0 once it has passed."""
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.end

    def check(self, **evidence: str) -> None:
        """Raise `DeadlineExceededError` with the evidence given if the time is over."""
        if self.passed:
            raise self.error(**evidence)

    def error(self, **evidence: str) -> DeadlineExceededError:
        """The error to raise where something else noticed first that the time is over."""
        return DeadlineExceededError(
            f"{self.step}: not done after {self.seconds:.0f} s", evidence=evidence
        )
