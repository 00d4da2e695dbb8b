# SPDX-License-Identifier: MIT
"""Watches a domain that is ending, until its memory is back. Part of the agent.

Watching must not change what it measures, so samples are rationed. A sample of the domain and of
free memory takes 0.2 ms under emulation. A sample of the backlog takes 5 ms there (the heap dump of
debug key H, 2 KiB, written to Xen's console), and far more on a slow serial line. The time that it
took decides when the next one may be.

Plain Python 3.6, as the agent is.
"""

import time
from typing import Any, Callable, Dict, List, Optional

from pytest_xenscrub.dom0.sent.progress import Clock, Stillness

Facts = Dict[str, Any]

# Time between two samples of a dying domain, which limits the precision of "gone" and "free".
SAMPLE_SECONDS = 0.025
# Share of dom0's time that samples of the backlog may take: small while memory comes back, and
# larger when only the end of the backlog is left to be measured.
BACKLOG_SHARE = 0.02
BACKLOG_SHARE_AFTER = 0.1


class Watch:
    """Samples a domain that is ending.

    Args:
        look_at_domain: gives Xen's description of the domain, or None once it is gone.
        free_bytes: gives free memory as Xen counts it.
        backlog_pages: gives the pages that are free and not scrubbed yet.
        info: the domain's present description.
        running: whether the command that ends the domain still runs; None without a command.
        until: when to stop: "gone", "free" or "clean".
        clock: a clock without starvation.
        hang: time without progress that counts as a hang, s; None for no such limit.
        may_stay_alive: whether a domain that stays alive is no hang, because the caller itself
            watches what ends the domain.
        others: gives the memory of other domains.

    Attributes:
        moments: "issued", "returned", "gone", "free", "clean"; None for those not seen.
        samples: [at, free bytes, "alive", "dying" or ""].
        backlog: [at, pages].
        still: once nothing has moved for too long: what did not, and how far it had come.
    """

    def __init__(
        self,
        look_at_domain: Callable[[], Optional[Facts]],
        free_bytes: Callable[[], int],
        backlog_pages: Callable[[], int],
        *,
        info: Facts,
        running: Optional[Callable[[], bool]],
        until: str,
        clock: Optional[Clock] = None,
        hang: Optional[float] = None,
        may_stay_alive: bool = False,
        others: Callable[[], Any] = lambda: None,
    ) -> None:
        self.look_at_domain = look_at_domain
        self.free_bytes = free_bytes
        self.backlog_pages = backlog_pages
        self.handle = info["handle"]
        self.ends_itself = running is None
        self.running = running if running is not None else lambda: False
        self.until = until
        self.samples: List[List[Any]] = []
        self.backlog: List[List[Any]] = []
        self.settled = False  # the domain is gone, and its memory is back
        self.next_backlog = 0.0
        self.hang = hang
        self.may_stay_alive = may_stay_alive
        self.others = others
        self.others_before = others()
        self.stillness = Stillness(clock or Clock())
        self.still: Optional[Facts] = None
        self.memory = info["mem_kb"] * 1024
        self.wanted = free_bytes() + self.memory
        # Sampled before the end is asked for, so that it costs no measured time.
        self.look_at_backlog()
        self.issued = time.monotonic()
        self.moments: Dict[str, Optional[float]] = {"issued": self.issued, "returned": None}
        self.moments.update(gone=None, free=None, clean=None)

    def look(self) -> bool:
        """Take one sample; returns whether everything was seen."""
        info = self.look_at_domain()
        if info is not None and info["handle"] != self.handle:
            info = None  # the number now belongs to another domain
        free = self.free_bytes()
        at = time.monotonic()
        state = "" if info is None else "dying" if info["dying"] else "alive"
        self.samples.append([at, free, state])
        moments = self.moments
        if self.ends_itself and (info is None or not runs(info)):
            moments["issued"] = at
            self.ends_itself = False
        if moments["gone"] is None and info is None:
            moments["gone"] = at
        if moments["free"] is None and free >= self.wanted:
            moments["free"] = at
        gone = moments["gone"] is not None and not self.running()
        settled = gone and moments["free"] is not None
        if gone if self.until == "gone" else settled and self.until == "free":
            return True
        if settled and not self.settled:
            self.settled = True
            self.next_backlog = at
        self.follow(info, free, state, running=self.running())
        hangs = self.hangs(state)
        if at >= self.next_backlog or hangs:
            # Nothing counts as a hang before the backlog was sampled, however expensive that is.
            pages = self.look_at_backlog()
            if settled and pages == 0:
                moments["clean"] = self.backlog[-1][0]
                return True
            if hangs and self.hangs(state):
                # Memory that is not free once the domain is gone may have been taken by another
                # domain.
                if state or self.others() == self.others_before:
                    self.still = self.how_far(state, free, pages)
                return True
        return False

    def hangs(self, state: str) -> bool:
        """Whether nothing has moved for too long."""
        if self.hang is None or (self.may_stay_alive and state == "alive"):
            return False
        return self.stillness.seconds() >= self.hang

    def follow(self, info: Optional[Facts], free: int, state: str, *, running: bool) -> None:
        """Note what this sample shows of progress."""
        self.stillness.differs("state", (state, running))
        self.stillness.falls("pages", 0 if info is None else info["mem_kb"])
        self.stillness.rises("free", free)

    def how_far(self, state: str, free: int, pages: int) -> Facts:
        """How much had come back when nothing moved any more."""
        return {
            "state": state,
            "memory_bytes": self.memory,
            "freed_bytes": min(self.memory, max(0, self.memory - (self.wanted - free))),
            "backlog_pages": pages,
            **self.stillness.told(),
        }

    def look_at_backlog(self) -> int:
        """Sample the backlog; schedules the next sample."""
        before = time.monotonic()
        pages = self.backlog_pages()
        at = time.monotonic()
        self.backlog.append([at, pages])
        self.stillness.falls("backlog", pages)
        share = BACKLOG_SHARE_AFTER if self.settled else BACKLOG_SHARE
        self.next_backlog = at + (at - before) / share
        return pages

    def seen(self, ran: Optional[Facts]) -> Facts:
        """The result; `ran` is the result of the command that ended the domain, if any."""
        if ran is not None:
            self.moments.update(issued=ran["issued"], returned=ran["returned"])
        return {
            "command": ran, **self.moments,
            "samples": self.samples, "backlog": self.backlog, "still": self.still,
        }  # fmt: skip


def runs(info: Facts) -> bool:
    """Whether a domain still runs; `shutdown` is not set for a crashed one."""
    return not (info["dying"] or info["shutdown"] or info["crashed"])
