# SPDX-License-Identifier: MIT
"""The common style of all charts: size, fonts, and a colour for each variant.

Figures are made without pyplot, so that no backend is chosen and matplotlib's state stays
unchanged.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

    from pytest_xenscrub.scrub.row import Row, Setting

# Okabe and Ito's colours, which colour-blind readers can tell apart; each has its own dashes.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#8C8C8C"
_KNOWN = {
    "stock": (BLUE, "-"),
    "sync": (ORANGE, (0, (5, 1.5))),
    "tasklet": (GREEN, (0, (4, 1.2, 1, 1.2))),
    "noscrub": (PURPLE, (0, (1.2, 1.2))),
    "as-is": (BLACK, "-"),
}
_OTHERS = ((SKY, "-"), (YELLOW, (0, (5, 1.5))), (GREY, (0, (4, 1.2, 1, 1.2))))
_DASHES = ("-", (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1.2, 1.2)))
"""Of one Xen's lines, where it has several."""
INCHES = (7.0, 4.2)
_DPI = 200
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.handlelength": 3.2,
    # What is told comes from files and hosts: a $ of theirs is no formula.
    "text.parse_math": False,
    "svg.hashsalt": "xenscrub",
    "svg.fonttype": "path",
}
# Without the date, so that the same data give the same file.
_NO_DATE = {"svg": {"Date": None}, "png": {}}
KINDS = tuple(_NO_DATE)
"""Kinds of files of a chart."""


def apart(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by variant, and by guest type, toolstack, host and build if those differ."""
    known = list(rows)
    told = [lambda s: s.guest_type, lambda s: s.toolstack, lambda s: s.host, _build]
    differ = [tell for tell in told if len({tell(row.setting) for row in known}) > 1]
    groups: dict[str, list[Row]] = {}
    for row in known:
        name = ", ".join([row.setting.variant, *(tell(row.setting) for tell in differ)])
        # matplotlib leaves names that begin with an underscore out of a legend.
        groups.setdefault(f" {name}" if name.startswith("_") else name, []).append(row)
    return groups


def _build(setting: Setting) -> str:
    return "debug build" if setting.debug else "release build"


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each group of `apart`, as arguments for a line.

    A variant has the same colour in every chart; several lines of a variant differ in their dashes.
    """
    others = iter(_OTHERS * 10)
    chosen: dict[str, tuple[str, Any]] = {}
    lines: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        xen = name.partition(", ")[0]
        chosen[xen] = chosen.get(xen) or _KNOWN.get(xen) or next(others)
        lines.setdefault(xen, []).append(name)
    return {
        name: {"color": color, "linestyle": dash if len(lines[xen]) == 1 else other}
        for xen, (color, dash) in chosen.items()
        for name, other in zip(lines[xen], cycle(_DASHES), strict=False)
    }


def save(
    folder: Path,
    name: str,
    paint: Callable[[Axes], None],
    *,
    inches: tuple[float, float] = INCHES,
    kinds: Iterable[str] = KINDS,
) -> list[Path]:
    """Draw one chart, and write it.

    Args:
        folder: the folder.
        name: name of the files, without ending.
        paint: draws on the axes that it gets.
        inches: size of the chart.
        kinds: kinds of files.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        paint(figure.subplots())
        paths = [folder / f"{name}.{kind}" for kind in kinds]
        for path in paths:
            figure.savefig(path, dpi=_DPI, metadata=_NO_DATE[path.suffix[1:]])
    return paths
