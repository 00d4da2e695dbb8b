# SPDX-License-Identifier: MIT
"""What goes to the agent and comes back: a request's answers, and how silent dom0 was."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Request:
    """What was asked of the agent; both come from the thread that reads what it says.

    Attributes:
        begun: done once the agent says that it has begun, which only a watch does.
        answer: to be waited for.
    """

    begun: Future[None] = field(default_factory=Future)
    answer: Future[Any] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        """The answer is this error, and so is what should have come before it."""
        for future in (self.begun, self.answer):
            if not future.done():
                future.set_exception(error)


class Stall(NamedTuple):
    """A while in which dom0 did not respond.

    Attributes:
        seconds: how long, s, without what the host was kept from running.
        starved: how long it was kept from running beside that, s.
    """

    seconds: float
    starved: float
