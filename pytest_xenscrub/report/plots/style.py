# SPDX-License-Identifier: MIT
"""The common style of all charts: size, fonts, and a colour for each variant.

Figures are made without pyplot, so that no backend is chosen and matplotlib's state stays
unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

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
    "svg.hashsalt": "xenscrub",
    "svg.fonttype": "path",
}
# Without the date, so that the same data give the same file.
_NO_DATE = {"svg": {"Date": None}, "png": {}}
KINDS = tuple(_NO_DATE)
"""Kinds of files of a chart."""


def looks(variants: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each variant, as arguments for a line; the same in every chart."""
    others = iter(_OTHERS * 10)
    chosen = {name: _KNOWN.get(name) or next(others) for name in dict.fromkeys(variants)}
    return {name: {"color": color, "linestyle": dash} for name, (color, dash) in chosen.items()}


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
