# SPDX-License-Identifier: MIT
"""A map of the machine's memory: the victim's frames, and the probes' verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from pytest_xenscrub.report.frame_map import COLUMNS
from pytest_xenscrub.report.plots.style import BLUE, ORANGE, SKY, YELLOW
from pytest_xenscrub.units import GIB, MIB, PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pytest_xenscrub.report.frame_map import FrameMap

_KINDS = (
    ("not seen: Xen, dom0, or no RAM", "#EEEEEE"),
    ("read by a probe, clean", SKY),
    ("was the victim's, read, clean", BLUE),
    ("was the victim's, not read", YELLOW),
    ("residue", ORANGE),
)
"""The kinds of a frame, as numbered in `FrameMap.pixels`, with their colours."""


def paint(axes: Axes, shown: FrameMap) -> None:
    """Draw one pixel for a number of frames; machine addresses go from left to right, then down."""
    lines = len(shown.pixels)
    line_bytes = COLUMNS * shown.frames_per_pixel * PAGE
    axes.imshow(
        shown.pixels, cmap=ListedColormap([color for _, color in _KINDS]), vmin=-0.5,
        vmax=len(_KINDS) - 0.5, interpolation="nearest", aspect="auto",
        extent=(0, COLUMNS, lines * line_bytes / GIB, 0),
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_ylabel("machine address, GiB")
    axes.set_xlabel(
        f"one pixel: {shown.frames_per_pixel} frames, the worst of them;"
        f" one line: {line_bytes / MIB:.0f} MiB"
    )
    axes.set_title(f"{shown.title}: {shown.state.upper()}")
    texts = [_KINDS[0][0]] + [
        f"{name}: {count:,}" for (name, _), count in zip(_KINDS[1:], shown.counts, strict=True)
    ]
    patches = [
        Patch(facecolor=color, edgecolor="#888888", linewidth=0.6, label=text)
        for text, (_, color) in zip(texts, _KINDS, strict=True)
    ]
    axes.legend(
        handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.2,
        title="frames", alignment="left",
    )  # fmt: skip
