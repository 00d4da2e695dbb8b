# SPDX-License-Identifier: MIT
"""Compares with an earlier run, if the measurement and the machine are the same."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING

from pytest_xenscrub.report.table import (
    COLUMNS,
    MAIN,
    Chosen,
    filled,
    grid,
    grouped,
    typed_name,
    values,
)
from pytest_xenscrub.units import MIB, gib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_xenscrub.scrub.row import Metric, Row

_SAME_SIZE = 0.02
"""Largest difference of victims' memory, as a share: free memory differs by a few pages."""

# Settings that must be the same in both runs. Xen's version and build may differ: runs are compared
# because of that.
_MACHINE: tuple[tuple[str, str, Callable[[object], str]], ...] = (
    ("host", "host", str),
    ("kind", "kind of host", str),
    ("emulated_on", "machine that emulates the host", str),
    ("total_bytes", "memory of the host", lambda size: gib(float(str(size)))),
    ("cpus", "CPUs of the host", str),
    ("cpu_model", "CPU model of the host", str),
    ("debug", "debug build", lambda debug: "yes" if debug else "no"),
    ("config", "Kconfig options", str),
    ("command_line", "boot options of Xen", str),
    ("fill_share", "share of victims' pages that is filled", str),
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A measurement in both runs.

    Attributes:
        then: rows of the earlier run.
        now: rows of this run.
    """

    then: list[Row]
    now: list[Row]

    @property
    def name(self) -> str:
        """The measurement's name."""
        return measurement(self.now[0])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """This run compared with an earlier one.

    Attributes:
        pairs: the measurements of both runs.
        mismatches: a line for each reason why something is not compared.
    """

    pairs: list[Pair]
    mismatches: list[str]


def compare_runs(then: Iterable[Row], now: Iterable[Row]) -> Comparison:
    """Find the same measurement in the earlier run for each one of this run."""
    earlier: dict[tuple[str, ...], list[list[Row]]] = {}
    for group in grouped(then):
        earlier.setdefault(_key(group[0]), []).append(group)
    pairs: list[Pair] = []
    mismatches: dict[str, None] = {}
    for group in grouped(now):
        found = earlier.get(_key(group[0]))
        if found is None:
            mismatches[f"{measurement(group[0])}: not measured in the earlier run"] = None
            continue
        pair = _most_alike(found, group)
        differences = list(_differences(pair))
        mismatches.update(dict.fromkeys(differences))
        if not differences:
            pairs.append(pair)
    return Comparison(pairs, list(mismatches))


def _key(row: Row) -> tuple[str, ...]:
    return typed_name(row), row.setting.toolstack, row.setting.variant, row.how


def measurement(row: Row) -> str:
    """Which measurement a row is of, as a reader is told."""
    s = row.setting
    return f"{typed_name(row)} ({s.toolstack}, {s.variant}, {row.memory_bytes // MIB} MiB)"


def _most_alike(found: Sequence[list[Row]], now: list[Row]) -> Pair:
    """The pair with the fewest differences, then with the nearest size; the last one of several.

    A run on several hosts has the same measurement once for each host.
    """
    pairs = [Pair(then, now) for then in reversed(found)]
    size = now[0].memory_bytes
    return min(
        pairs,
        key=lambda pair: (
            len(list(_differences(pair))), abs(pair.then[0].memory_bytes - size),
        ),
    )  # fmt: skip


def _differences(pair: Pair) -> Iterable[str]:
    then, now = pair.then[0], pair.now[0]
    for field, label, show in _MACHINE:
        before, after = getattr(then.setting, field), getattr(now.setting, field)
        if before != after:
            yield f"{label}: {show(before) or 'none'} then, {show(after) or 'none'} now"
    if abs(then.memory_bytes - now.memory_bytes) > _SAME_SIZE * then.memory_bytes:
        yield f"{pair.name}: the guest had {gib(then.memory_bytes)} then"
    if then.vcpus != now.vcpus:
        yield f"{pair.name}: the guest had {then.vcpus} vCPUs then, {now.vcpus} now"


def render_baseline(comparison: Comparison, chosen: Chosen = MAIN) -> str:
    """The table: medians of this run, and their ratio to the earlier run's."""
    lines = [_line(pair) for pair in comparison.pairs]
    return grid(lines, chosen)


def _line(pair: Pair) -> dict[str, str]:
    row = pair.now[0]
    return {
        "test": typed_name(row),
        "toolstack": row.setting.toolstack,
        "variant": row.setting.variant,
        "MiB": f"{row.memory_bytes // MIB}",
        "filled": filled(pair.now),
        "n": f"{len(pair.then)}, {len(pair.now)}",
        **{metric.column: _cell(pair, metric) for metric in COLUMNS if not metric.least},
    }


def _cell(pair: Pair, metric: Metric) -> str:
    then, now = values(pair.then, metric), values(pair.now, metric)
    if not now or not then:
        return ""
    before, after = statistics.median(then), statistics.median(now)
    ratio = f"{after / before:.2f}x" if before else "-"
    return f"{metric.unit.show(after)} {ratio}"
