# SPDX-License-Identifier: MIT
"""Charts of the page, as SVG inside it."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_xenscrub.report.frame_map import FrameMap
    from pytest_xenscrub.report.history import Series
    from pytest_xenscrub.scrub.row import Row

_MOST: Final = 3
"""Largest number of charts of one kind."""
_SORTS: Final = {
    "exposure": "how long bytes stay in RAM",
    "sizes": "destroy against memory",
    "frames": "map of memory",
    "destroy": "the course of a destroy",
}
"""Captions, by the beginning of the name of a chart's file."""
_WIDTH: Final = 400
_HEIGHT: Final = 48
_MARGIN: Final = 4
_AXIS: Final = 14
"""Height of the commits below a line."""
_LABEL: Final = 64
"""Width of a commit."""
_MOST_LETTERS: Final = 11


def charts(rows: Sequence[Row], maps: Mapping[str, FrameMap]) -> list[tuple[str, Markup]]:
    """Charts of exposure, of time against memory, of memory, of single destroys, with captions.

    None without matplotlib.
    """
    if not (rows or maps) or importlib.util.find_spec("matplotlib") is None:
        return []
    from pytest_xenscrub.report.plots import draw  # noqa: PLC0415 - an extra

    with tempfile.TemporaryDirectory(prefix="xenscrub-") as folder:
        drawn = draw(rows, maps, Path(folder), kinds=["svg"], most=_MOST)
        texts = {path.stem: path.read_text(encoding="utf-8") for path in drawn}
    return [
        (name, _inline(text, name, number))
        for number, (name, text) in enumerate(
            (_caption(stem), text) for stem, text in texts.items()
        )
    ]


def _caption(stem: str) -> str:
    """A chart's caption, from the name of its file."""
    kind, _, of = stem.partition("-")
    return f"{_SORTS[kind]}: {of}" if of else _SORTS[kind]


def _inline(text: str, name: str, number: int) -> Markup:
    """The picture alone, with unique names, because all charts are in one page."""
    picture = text[text.index("<svg") :]
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    picture = re.sub(r'(\bid="|href="#|url\(#)', rf"\1c{number}-", picture)
    told = Markup('<svg role="img" aria-label="{}"').format(name)
    return told + Markup(picture.removeprefix("<svg"))  # noqa: S704 - matplotlib escapes it


def line_of(series: Series) -> Markup:
    """A figure over time, above the commits of its Xens: a line with breaks at gaps."""
    values = [point.value for point in series.points]
    top = max(values) or 1.0
    step = (_WIDTH - 2 * _MARGIN) / (len(values) - 1)
    places = [
        (_MARGIN + n * step, _HEIGHT - _MARGIN - value / top * (_HEIGHT - 2 * _MARGIN))
        for n, value in enumerate(values)
    ]
    parts = [Markup('<path d="M0 {}H{}"/>').format(_HEIGHT, _WIDTH)]
    for start, end in zip([0, *series.gaps], [*series.gaps, len(values)], strict=True):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places[start:end])
        parts.append(Markup('<polyline points="{}"/>').format(points))
    for number, (x, y) in enumerate(places):
        kind = "change" if number in series.changes else "point"
        kind += " starved" if series.points[number].starved else ""
        point = series.points[number]
        told = f"{point.started[:16]}: {series.metric.unit.show(point.value)}"
        told += f" {series.metric.unit.name}, Xen {point.whole}"
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
            .format(kind, x, y, 4 if "change" in kind else 2, told)
        )  # fmt: skip
    parts += _axis([point.commit for point in series.points], [x for x, _ in places])
    return Markup(
        '<svg class="line" viewBox="0 0 {} {}" width="{}" height="{}" role="img">{}</svg>'
    ).format(_WIDTH, _HEIGHT + _AXIS, _WIDTH, _HEIGHT + _AXIS, Markup("").join(parts))


def _axis(commits: Sequence[str], places: Sequence[float]) -> list[Markup]:
    """A tick where another Xen begins, and its commit where there is room for it."""
    parts = []
    free = 0.0
    for number, (commit, x) in enumerate(zip(commits, places, strict=True)):
        if number and commit == commits[number - 1]:
            continue
        parts.append(Markup('<path d="M{:.1f} {}v3"/>').format(x, _HEIGHT))
        left = min(x - _MARGIN, _WIDTH - _LABEL)
        if left >= free:
            parts.append(
                Markup('<text x="{:.1f}" y="{}">{}</text>').format(
                    left, _HEIGHT + _AXIS - 2, commit[:_MOST_LETTERS]
                )
            )
            free = left + _LABEL
    return parts
