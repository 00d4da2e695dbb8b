# SPDX-License-Identifier: MIT
"""Every figure of some rows, with its repeats, and the labels that identify it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.report.table import grouped, test_name, values, where
from pytest_xenscrub.scrub.row import METRICS
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_xenscrub.scrub.row import Metric, Row


@dataclass(frozen=True)
class Figure:
    """One metric of one measurement.

    Attributes:
        metric: the metric.
        labels: labels that identify the measurement: test, host, guest, toolstack, variant, Xen,
            MiB and how the guest ended.
        values: the value of each repeat, in the metric's base unit: s, bytes/s, pages, byte s, or a
            share.
        starved: whether other work kept the host from running in a repeat.
    """

    metric: Metric
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
        told = self.labels
        kind = [] if told["guest"] == "pv" else [told["guest"]]
        inside = [told["variant"], told["toolstack"], *kind, f"{told['MiB']} MiB"]
        ended = [] if told["how"] == "destroy" else [told["how"]]
        return f"{told['test']} ({', '.join([*inside, *ended])})"


def labels(row: Row) -> dict[str, str]:
    """The labels that identify a measurement."""
    size = f"{row.memory_bytes // MIB}"
    return {"test": test_name(row), **where(row), "MiB": size, "how": row.how}


def figures(rows: Iterable[Row]) -> Iterator[Figure]:
    """All that was measured."""
    for group in grouped(rows):
        for metric in METRICS:
            if known := values(group, metric):
                starved = any(row.too_starved for row in group)
                yield Figure(metric, labels(group[0]), tuple(known), starved)
