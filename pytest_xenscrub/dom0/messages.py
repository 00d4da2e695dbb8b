# SPDX-License-Identifier: MIT
"""Messages of the connection to the agent: a request's answers, and how long dom0 was silent."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Request:
    """A request to the agent; the thread that reads the agent's messages sets both futures.

    Attributes:
        begun: done once the agent says that it has begun, which only a watch does.
        answer: the answer.
    """

    begun: Future[None] = field(default_factory=Future)
    answer: Future[Any] = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        """Set this error as the answer, and as the answer to `begun`, too."""
        for future in (self.begun, self.answer):
            if not future.done():
                future.set_exception(error)


class Stall(NamedTuple):
    """A time in which dom0 did not respond.

    Attributes:
        seconds: its length without starvation, s.
        starved: how long the host was kept from running besides, s.
    """

    seconds: float
    starved: float
