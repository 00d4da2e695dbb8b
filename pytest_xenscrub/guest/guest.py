# SPDX-License-Identifier: MIT
"""`Guest`: how a guest ends, reboots, is saved, and migrates."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import DisagreementError
from pytest_xenscrub.guest.console import LineDecoder
from pytest_xenscrub.guest.events import Hello, Resumed
from pytest_xenscrub.guest.live import LiveGuest
from pytest_xenscrub.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.host.sampling import Samples
    from pytest_xenscrub.outside.exposure import Recorder

MOVES = 4
"""Passes over a guest's memory that a save, restore or migration takes."""
_REBOOT_POLL_SECONDS = 0.05


@dataclasses.dataclass(frozen=True)
class Ended:
    """A guest that has ended, and how its memory came back.

    Attributes:
        guest: the guest.
        how: "destroy", "crash", "poweroff", "reboot"; "save" or "migrate" if the guest goes on in
            another domain.
        reclaim: the moments of the end, on dom0's clock.
        recorder: watches the guest's bytes in RAM until they are gone; None if RAM is not seen.
        samples: CPU samples of the end; None without --xen-profile.
    """

    guest: Guest
    how: str
    reclaim: Reclaim
    recorder: Recorder | None = None
    samples: Samples | None = None


class Guest(LiveGuest):
    """A guest that runs this project's kernel, from its first console line to its end."""

    _left: Recorder | None = None
    """Watches the bytes of the guest's former domain while the guest is saved."""

    # -- its end --------------------------------------------------------------------------------

    def destroy(self, *, until: Until = "clean", seconds: float | None = None) -> Ended:
        """Destroy the guest through the toolstack, and watch its memory until it is clean."""
        deadline = self._patience(f"{self._toolstack.name} destroy {self.name}", seconds)
        self._listeners.update(f"{self.name}: destroying {gib(self.memory_bytes)}")
        recorder = self._record_bytes()
        with self._sampled() as seen:
            reclaim = self._toolstack.destroy(self.domid, until=until, deadline=deadline)
        return self._ended("destroy", reclaim, recorder, seen)

    def end(
        self,
        how: str,
        *,
        told: str = "",
        until: Until = "clean",
        seconds: float | None = None,
    ) -> Ended:
        """Make the guest end by itself, and watch its memory as for a destroy.

        After a reboot the guest goes on in another domain: see `follow_reboot`.

        Args:
            how: the end: "crash", "poweroff" or "reboot".
            told: the kernel's action for this end, if that has another name.
            until: as for `destroy`.
            seconds: as for `destroy`.
        """
        deadline = self._patience(f"{self.name}: {how}", seconds)
        # After a reboot the guest writes the same pattern again.
        recorder = None if how == "reboot" else self._record_bytes()
        with self._sampled() as seen:
            watch = self._dom0.watch(self.domid, None, until=until, deadline=deadline)
            self.send(told or how)
            reclaim = watch.result()
        ended = self._ended(how, reclaim, recorder, seen)
        if reclaim.gone is None:
            raise deadline.error(**self.evidence())
        return ended

    def _ended(
        self, how: str, reclaim: Reclaim, recorder: Recorder | None, seen: list[Samples]
    ) -> Ended:
        self.release()
        last = max((at for at, _, _ in reclaim.samples), default=reclaim.issued)
        self._dom0.pace.saw(self.memory_bytes, last - reclaim.issued)
        if recorder is not None:
            recorder.issued(reclaim.issued)
        return Ended(self, how, reclaim, recorder, *seen)

    def _record_bytes(self) -> Recorder | None:
        """Begin to watch the guest's bytes; None without a pattern or a view of RAM."""
        hello = self.last(Hello)
        if self._listeners.witness is None or hello is None or not self.pattern_pages:
            return None
        ahead = self._dom0.clock_offset()
        try:
            return self._listeners.witness.watch(
                self.name, self.filled_frames, run=hello.run, guest=hello.guest,
                filled=self.pattern_pages, ahead=ahead,
            )  # fmt: skip
        except DisagreementError as error:
            raise self.who_is_right(error) from None

    @contextlib.contextmanager
    def _sampled(self) -> Iterator[list[Samples]]:
        """Sample the CPUs in the with block, with --xen-profile; the list then has the samples."""
        seen: list[Samples] = []
        start_sampling = self._listeners.start_sampling
        sampling = None if start_sampling is None else start_sampling()
        try:
            yield seen
        finally:
            if sampling is not None:
                seen.append(sampling.stop())

    def follow_reboot(self, *, seconds: float | None = None) -> None:
        """Find the guest's new domain after a reboot, and read its console from the start."""
        deadline = self._patience(f"{self.name}: coming back after its reboot", seconds, 2)
        self._find_again(deadline)
        self.events.clear()
        self._decoder = LineDecoder()
        self._undelivered.clear()

    def _find_again(self, deadline: Deadline) -> None:
        """Find the guest's new domain by its UUID, and open the new console."""
        while True:
            found = [d for d in self._dom0.domains() if d.uuid == self.config.uuid and not d.dying]
            if found and found[0].domid != self.domid:
                break
            deadline.check(**self.evidence())
            time.sleep(_REBOOT_POLL_SECONDS)
        self.domid = found[0].domid
        self.ended = False
        self._console = self._toolstack.console(self.domid)

    # -- its way to another domain ---------------------------------------------------------------

    def save(self, *, until: Until = "clean", seconds: float | None = None) -> Ended:
        """Save the guest to dom0's disk, which ends its domain; watched as for a destroy."""
        deadline = self._patience(f"{self._toolstack.name} save {self.name}", seconds, MOVES)
        self._left = self._record_bytes()
        reclaim = self._toolstack.save(self.domid, self.name, until=until, deadline=deadline)
        return self._ended("save", reclaim, self._left, [])

    def restore(self, *, seconds: float | None = None) -> Resumed:
        """Restore the guest after `save`, in another domain.

        The frames of the former domain are not watched any more: the guest may get some of them.
        """
        if self._left is not None:
            self._left.stop()
        deadline = self._patience(f"{self._toolstack.name} restore {self.name}", seconds, MOVES)
        self._toolstack.restore(self.name, deadline)
        self._find_again(deadline)
        return self.wait_for(Resumed, deadline)

    def checkpoint(self, *, seconds: float | None = None) -> Resumed:
        """Save the guest, and let it go on in the same domain."""
        deadline = self._patience(f"{self._toolstack.name} checkpoint {self.name}", seconds, MOVES)
        self._toolstack.checkpoint(self.domid, self.name, deadline)
        return self.wait_for(Resumed, deadline)

    def migrate(self, *, seconds: float | None = None) -> tuple[Ended, Resumed]:
        """Migrate the guest to the same host; gives the old domain's end, and the resume."""
        deadline = self._patience(f"{self._toolstack.name} migrate {self.name}", seconds, MOVES)
        recorder = self._record_bytes()
        reclaim = self._toolstack.migrate(self.domid, until="gone", deadline=deadline)
        ended = self._ended("migrate", reclaim, recorder, [])
        self._find_again(deadline)
        return ended, self.wait_for(Resumed, deadline)

    def release(self) -> None:
        """Close the console of a guest that has ended, after reading all that is left there."""
        self.ended = True
        with contextlib.suppress(EOFError):
            while data := self._console.read(0):
                self._listeners.heard(self.name, data)
        self._console.close()
