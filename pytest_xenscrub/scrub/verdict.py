# SPDX-License-Identifier: MIT
"""What a probe saw of a victim's frames, and whether that proves anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroaring import BitMap64


@dataclass(frozen=True)
class Verdict:
    """A victim's frames against a probe's (MFNs).

    Attributes:
        victim: frames that the victim had.
        clean_frames: frames that the probe read and found clean.
        residue_frames: frames that the probe read and found dirty.
        min_coverage: share of the victim's frames that must have been read.
    """

    victim: BitMap64
    clean_frames: BitMap64
    residue_frames: BitMap64
    min_coverage: float = 0.99

    @property
    def coverage(self) -> float:
        """Freed frames that the probe read ÷ freed frames."""
        judged = self.victim & (self.clean_frames | self.residue_frames)
        return len(judged) / len(self.victim) if self.victim else 0.0

    @property
    def clean(self) -> bool:
        """No byte of residue, and enough was read to say so."""
        return not self.residue_frames and self.coverage >= self.min_coverage

    def __str__(self) -> str:
        dirty = len(self.victim & self.residue_frames)
        return (
            f"{'clean' if self.clean else 'NOT CLEAN'}: {dirty} of {len(self.victim)} frames of"
            f" the victim hold residue, {len(self.residue_frames) - dirty} others do;"
            f" coverage {self.coverage:.2%} (at least {self.min_coverage:.0%} is needed)"
        )
