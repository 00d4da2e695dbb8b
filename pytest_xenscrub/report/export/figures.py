# SPDX-License-Identifier: MIT
"""Every figure of some rows, with its repeats, and the labels that identify it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.changes import fed
from pytest_xenscrub.report.table import grouped, test_name, values, where
from pytest_xenscrub.scrub.row import BYTE_SECONDS, METRICS, RATE, SECONDS
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_xenscrub.scrub.row import Metric, Row, Setting


_TIMINGS: Final = (SECONDS, RATE, BYTE_SECONDS)
"""What other work on the machine changes."""


@dataclass(frozen=True)
class Figure:
    """One metric of one measurement.

    Attributes:
        metric: the metric.
        setting: the setting of the measurement's first row.
        labels: labels that identify the measurement: test, host, guest, toolstack, variant, Xen,
            MiB, how the guest ended, and what was filled if that was a sample.
        values: the value of each repeat, in the metric's base unit: s, bytes/s, pages, byte s, or a
            share.
        starved: whether other work kept the host from running in a repeat.
    """

    metric: Metric
    setting: Setting
    labels: dict[str, str]
    values: tuple[float, ...]
    starved: bool

    @property
    def median(self) -> float:
        """The median of the repeats, or the minimum if the metric is shown by its minimum."""
        return min(self.values) if self.metric.least else statistics.median(self.values)

    @property
    def name(self) -> str:
        """The measurement's name, in one line: `test (variant, toolstack, 512 MiB)`."""
        return self.named(())

    def named(self, also: Iterable[str]) -> str:
        """The measurement's name with more of its labels."""
        told = self.labels
        kind = [] if told["guest"] == "pv" else [told["guest"]]
        inside = [told["variant"], told["toolstack"], *kind, f"{told['MiB']} MiB"]
        ended = [] if told["how"] == "destroy" else [told["how"]]
        filled = [f"{told['filled']} filled"] if "filled" in told else []
        more = [told[label] for label in also]
        return f"{told['test']} ({', '.join([*inside, *ended, *filled, *more])})"


def labels(row: Row) -> dict[str, str]:
    """The labels that identify a measurement."""
    share = row.setting.fill_share
    filled = {} if share == 1 else {"filled": f"{share:.4%}"}
    size = f"{row.memory_bytes // MIB}"
    return {"test": test_name(row), **where(row), "MiB": size, "how": row.how, **filled}


def figures(rows: Iterable[Row]) -> Iterator[Figure]:
    """All that was measured."""
    for group in grouped(rows):
        for metric in METRICS:
            if known := values(group, metric):
                starved = any(row.too_starved for row in group)
                yield Figure(
                    metric, group[0].setting, labels(group[0]), tuple(known), starved
                )  # fmt: skip


def comparable(rows: Iterable[Row]) -> list[Figure]:
    """What other programs may compare with other runs: no timing of a host that was starved."""
    known = list(rows)
    return [figure for figure in figures(known) if figure.metric.unit not in _TIMINGS] + [
        figure for figure in figures(fed(known)) if figure.metric.unit in _TIMINGS
    ]


def differing(found: Iterable[Figure], names: Iterable[str]) -> list[str]:
    """Those of some labels in which figures differ, so that their names must have them."""
    known = list(found)
    return [name for name in names if len({figure.labels[name] for figure in known}) > 1]
