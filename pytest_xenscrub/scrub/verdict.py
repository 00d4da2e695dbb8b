# SPDX-License-Identifier: MIT
"""The verdict on a victim's frames: clean, residue or unproven."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pyroaring import BitMap64

from pytest_xenscrub.scrub.sampled import Sampled
from pytest_xenscrub.units import GIB, PAGE, gib

if TYPE_CHECKING:
    from pytest_xenscrub.guest.events import DirtyPage

MIN_COVERAGE = 0.99
_SHOWN = 8
_SHOWN_BYTES = 16

State = Literal["clean", "residue", "unproven"]


@dataclass(frozen=True, repr=False)
class Verdict:
    """What probes read of a victim's frames (MFNs), and what that proves.

    Attributes:
        victim: frames that the victim had.
        clean_frames: frames that a probe read and found clean.
        residue_frames: frames that a probe read and found dirty.
        unfilled: frames that the victim had not filled, if it filled a sample. A clean one proves
            nothing and does not count; a dirty one is residue.
        given_back: frames that live guests gave back earlier; such frames are dirty by contract.
        unjudged_pages: pages of probes that the domain builder wrote to, so that they cannot be
            judged.
        unjudged_frames: the frames of those pages, if the probe reports them.
        pattern_frames: frames in `residue_frames` that hold a guest's pattern, of any run.
        other_pages: dirty pages that hold something else: a guest's page tables, bytes of Xen, or
            another user's guest.
        dirty: descriptions of the first dirty pages.
        names: names of this run's guests, by their number in the pattern.
        run: this run's number in the pattern.
        outside_clean: frames of the victim that no probe got and that hold no guest's pattern, seen
            from outside; empty if RAM cannot be seen from outside, or changes too much.
        outside_residue: frames of the victim that no probe got and that hold a guest's pattern.
        kept: frames like `outside_residue` that belong to Xen's heap by now. Xen takes memory for
            itself unscrubbed (`MEMF_no_scrub`), and scrubs that memory when it is freed: no guest
            got these frames.
        tables: frames of the victim that Xen set aside for page tables of live guests, seen from
            outside: no guest can get these frames.
        min_coverage: share of the victim's frames that probes must read.
        seconds: time that reading took, on the probes' own clocks, s.
        differences: contradictions between probes and RAM seen from outside, a sentence each. A
            frame with a dead guest's pattern is dirty, by either witness; any other frame that they
            contradict each other on is not judged.
    """

    victim: BitMap64
    clean_frames: BitMap64
    residue_frames: BitMap64
    unfilled: BitMap64 = field(default_factory=BitMap64)
    given_back: BitMap64 = field(default_factory=BitMap64)
    pattern_frames: BitMap64 = field(default_factory=BitMap64)
    unjudged_pages: int = 0
    unjudged_frames: BitMap64 = field(default_factory=BitMap64)
    other_pages: int = 0
    dirty: tuple[DirtyPage, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    run: int = 0
    outside_clean: BitMap64 = field(default_factory=BitMap64)
    outside_residue: BitMap64 = field(default_factory=BitMap64)
    kept: BitMap64 = field(default_factory=BitMap64)
    tables: BitMap64 = field(default_factory=BitMap64)
    min_coverage: float = MIN_COVERAGE
    seconds: float = 0.0
    differences: tuple[str, ...] = ()

    @property
    def read_frames(self) -> BitMap64:
        """Frames that a probe read and could judge."""
        return self.clean_frames | self.residue_frames

    @property
    def filled(self) -> BitMap64:
        """Freed frames that hold the victim's data, unless they were scrubbed."""
        return self.victim - self.unfilled

    @property
    def covered(self) -> BitMap64:
        """Filled frames that a probe read."""
        return self.filled & self.read_frames

    @property
    def coverage(self) -> float:
        """Filled frames that a probe read ÷ filled frames that a guest can be given."""
        free = self.filled - ((self.tables | self._left_out) - self.read_frames)
        return len(self.covered) / len(free) if free else 0.0

    @property
    def _left_out(self) -> BitMap64:
        """Frames of a sample that the domain builder of a probe wrote to; they count as not filled.

        These frames lie together, so they may cover a whole run, which is much of a small sample.
        Empty if they are more than the share of all freed frames that may be left unread.
        """
        if not self.unfilled:
            return BitMap64()
        found = self.victim & self.unjudged_frames
        most = (1 - self.min_coverage) * len(self.victim)
        return found if len(found) <= most else BitMap64()

    @property
    def judged(self) -> float:
        """Filled frames that a probe read, or that were seen from outside ÷ filled frames."""
        outside = self.outside_clean | self.outside_residue | self.kept
        judged = self.read_frames | outside | self.given_back
        return len(self.filled & judged) / len(self.filled) if self.filled else 0.0

    @property
    def sampled(self) -> Sampled | None:
        """The sample that the verdict rests on; None if the victim filled all of its memory."""
        if not self.unfilled:
            return None
        return Sampled(len(self.filled), len(self.victim), len(self.covered))

    @property
    def pattern_pages(self) -> int:
        """Number of dirty pages that hold a guest's pattern."""
        return len(self.pattern_frames)

    @property
    def residue_in_victim(self) -> BitMap64:
        """Dirty frames that the victim had when it died."""
        return (self.victim & self.residue_frames) - self.given_back

    @property
    def dirty_by_contract(self) -> BitMap64:
        """Dirty frames that a live guest gave back: such a guest must clear them itself."""
        return self.residue_frames & self.given_back

    @property
    def has_residue(self) -> bool:
        """Whether a dead guest's bytes were seen.

        Residue is a dirty frame of the victim, whatever it holds, and a guest's pattern in any
        other frame: a copy, or an earlier victim's bytes. Other bytes in a frame that was not the
        victim's are counted and reported, but are no residue: dom0 or another guest ballooned the
        frame out, or Xen used it.
        """
        found = self.residue_in_victim or self.pattern_frames - self.given_back
        return bool(found or self.outside_residue)

    @property
    def state(self) -> State:
        """`residue`; `unproven` if too little was read or witnesses differ; else `clean`."""
        if self.has_residue:
            return "residue"
        if self.differences:
            return "unproven"
        return "clean" if self.coverage >= self.min_coverage else "unproven"

    @property
    def clean(self) -> bool:
        """Whether no residue was seen and enough frames were read."""
        return self.state == "clean"

    @property
    def bytes_per_second(self) -> float:
        """Rate at which the probes read, bytes/s."""
        pages = len(self.read_frames) + self.unjudged_pages
        return pages * PAGE / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        return f"<Verdict {self.state}: coverage {self.coverage:.2%}>"

    def __str__(self) -> str:
        lines = [self._headline()]
        freed = "freed" if self.sampled is None else "freed and filled"
        lines.append(
            f"  coverage: {self.coverage:.2%} of {len(self.filled)} {freed} frames were read"
            f" ({self.min_coverage:.2%} are needed), {self.unjudged_pages} pages of the probes"
            " cannot be judged"
        )
        if self.sampled is not None:
            lines.append(f"  sample: {self.sampled}")
        if outside := self.outside_clean | self.outside_residue | self.kept:
            lines.append(
                f"  from outside: {len(self.outside_residue)} of {len(outside)} frames that no"
                f" probe was given hold a guest's pattern; {self.judged:.2%} are judged in all"
            )
        if self.kept:
            lines.append(
                f"  Xen's heap: {len(self.kept)} frames hold a guest's pattern; Xen took them for"
                " itself before they were scrubbed, and scrubs them when it frees them"
            )
        if self.tables:
            lines.append(
                f"  Xen's tables: {len(self.tables)} frames are set aside for page tables of guests"
                " that live: no guest can be given them, and coverage is of the others"
            )
        lines += [f"  witnesses differ: {difference}" for difference in self.differences]
        excused = len(self.dirty_by_contract)
        foreign = len(self.residue_frames) - len(self.residue_in_victim) - excused
        if self.residue_frames:
            lines.append(
                f"  dirty: {len(self.residue_in_victim)} of the victim's frames and {foreign} other"
                f" frames, and {excused} that a live guest had given back;"
                f" {self.pattern_pages} hold a pattern of ours, {self.other_pages} not"
            )
        # Pages that name the guest that wrote them come first, because they tell most.
        told = sorted(self.dirty, key=lambda page: page.pattern is None)[:_SHOWN]
        lines += [f"    {self._describe(page)}" for page in told]
        if self.state == "residue":
            lines.append(
                "  next: this Xen handed out memory that it had not scrubbed; see which frames they"
                " are (freed by an abort, a merge, one CPU, one order?), and read Xen's log"
            )
        elif self.state == "unproven" and not self.differences:
            lines.append(
                "  next: nothing dirty was seen, but too few frames came back to the probes: look"
                " for a domain that still holds them (xl list, --p--d) or for lost memory"
            )
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.state == "clean":
            rate = f"{self.bytes_per_second / GIB:.1f} GiB/s"
            read = f"CLEAN: {gib(len(self.read_frames) * PAGE)} read at {rate}, no byte of residue"
            return read if self.sampled is None else f"{read} in what was filled, a sample"
        if self.differences and not self.has_residue:
            return "UNPROVEN: no residue was seen, but a probe's report contradicts RAM"
        if self.state == "unproven":
            return "UNPROVEN: no residue was seen, but too little was read to call it clean"
        if not self.residue_in_victim and not self.pattern_frames:
            return (
                f"RESIDUE: {len(self.outside_residue)} frames of the victim that no guest was given"
                " still hold its pattern, and nothing waits for its scrub"
            )
        if not self.residue_in_victim:
            return (
                "RESIDUE: a guest's pattern was found in frames that were not the victim's when it"
                " died"
            )
        return (
            f"RESIDUE: {len(self.residue_in_victim)} frames of the victim still held data when"
            " another guest got them"
        )

    def _describe(self, page: DirtyPage) -> str:
        where = f"MFN {page.mfn:#x}, page {page.pfn} of the probe, bytes {page.first}-{page.last}"
        owner = "the victim's frame" if page.mfn in self.victim else "not the victim's frame"
        if page.pattern is None:
            shown = f", {page.data[:_SHOWN_BYTES].hex(' ')}" if page.data else ""
            return f"{where}: {owner}, no pattern of ours, hash {page.hash or 0:016x}{shown}"
        pattern = page.pattern
        if pattern.guest is None:
            by = "a guest whose name is gone"
        elif pattern.run != self.run:
            by = f"guest {pattern.guest} of run {pattern.run or 0:06x}"
        else:
            by = self.names.get(pattern.guest, f"guest {pattern.guest} of this run")
        place = f"its page {pattern.pfn}" if pattern.pfn is not None else "some page"
        was = f", written to MFN {pattern.mfn:#x}" if pattern.mfn not in (None, page.mfn) else ""
        return f"{where}: {owner}, {by} wrote it to {place}{was}: {page.data[:16].hex(' ')}"
