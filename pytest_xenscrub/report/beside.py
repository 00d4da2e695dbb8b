# SPDX-License-Identifier: MIT
"""Two runs side by side: verdicts, the main figures, and every figure that is proven worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from pytest_xenscrub.report.baseline import Comparison, compare_runs, measurement
from pytest_xenscrub.report.changes import changes
from pytest_xenscrub.report.table import grouped, headed, worst_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_xenscrub.report.baseline import Pair
    from pytest_xenscrub.scrub.row import Row

_ALIGN: Final = ("left", "right", "right", "right", "left")


def render_beside(then: Sequence[Row], now: Sequence[Row], *, then_name: str, now_name: str) -> str:
    """The table; below it what only one of the runs has, or what cannot be compared.

    Args:
        then: rows of the earlier run.
        now: rows of the later run.
        then_name: heading of the earlier run's column.
        now_name: heading of the later run's column.
    """
    comparison = compare_runs(then, now)
    lines = [(pair.name, line) for pair in comparison.pairs for line in _lines(pair)]
    parts = []
    if lines:
        text = tabulate(
            [line for _, line in lines],
            headers=["", then_name, now_name, "÷", ""],
            disable_numparse=True,
            colalign=_ALIGN,
        )
        parts.append(headed(text, [name for name, _ in lines]))
    parts += [f"not compared: {line}" for line in comparison.mismatches]
    parts += [f"not measured on {now_name}: {name}" for name in _gone(then, now)]
    return "\n".join(parts)


def _lines(pair: Pair) -> Iterator[list[str]]:
    yield ["verdict", worst_verdict(pair.then), worst_verdict(pair.now), "", ""]
    for change in changes(Comparison([pair], [])):
        if change.metric.main or change.proven_worse:
            yield [
                f"{change.metric.column}, {change.metric.unit.name}",
                change.shown(change.then),
                change.shown(change.now),
                "" if change.ratio is None else f"{change.ratio:.2f}",
                change.told,
            ]


def _gone(then: Iterable[Row], now: Iterable[Row]) -> list[str]:
    """What the later run has nothing of, as where its Xen crashed before."""
    left = {measurement(group[0]) for group in grouped(now)}
    names = [measurement(group[0]) for group in grouped(then)]
    return [name for name in dict.fromkeys(names) if name not in left]
