# SPDX-License-Identifier: MIT
"""Figures for programs that keep them over time, or look at them: CSV, OpenMetrics, benchmarks."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.report.export.figures import Figure, comparable, differing, labels
from pytest_xenscrub.report.results import last_rows
from pytest_xenscrub.report.table import grouped, worst_verdict
from pytest_xenscrub.scrub.row import BYTE_SECONDS, METRICS, PAGES, RATE, SECONDS, SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.report.results import RunResults
    from pytest_xenscrub.scrub.row import Metric, Row, Unit

BASE: Final[dict[Unit, tuple[str, str]]] = {
    SECONDS: ("seconds", "s"),
    RATE: ("bytes_per_second", "B/s"),
    SHARE: ("ratio", "ratio"),
    PAGES: ("pages", "pages"),
    BYTE_SECONDS: ("byte_seconds", "B s"),
}
"""The unit of a figure in rows: for names, and beside figures."""
_NOT_IN_CSV: Final = ("series", "exposure_curve", "profile")


def to_csv(runs: Sequence[RunResults]) -> str:
    """CSV: a line for each row of all runs, in the units of a file of results; without curves."""
    out = io.StringIO()
    flat = [
        {key: value for key, value in row.as_dict().items() if key not in _NOT_IN_CSV}
        for run in runs
        for row in run.rows.values()
    ]
    writer = csv.DictWriter(out, list(flat[0]) if flat else ["test"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def to_openmetrics(runs: Sequence[RunResults]) -> str:
    """OpenMetrics gauges, for Prometheus: medians; `xenscrub_clean` is 1, or 0 with residue."""
    found = comparable(last_rows(runs))
    lines: list[str] = []
    for metric in METRICS:
        name = _metric_name(metric)
        lines += [
            f"# TYPE {name} gauge",
            f"# UNIT {name} {BASE[metric.unit][0]}",
            f"# HELP {name} {_escaped(metric.definition)}",
        ]
        lines += [
            f"{name}{_labelled(figure.labels)} {figure.median!r}"
            for figure in found
            if figure.metric is metric
        ]
    lines += [
        "# TYPE xenscrub_clean gauge",
        "# HELP xenscrub_clean whether no residue was found; left out where nothing was proven",
    ]
    for group in grouped(last_rows(runs)):
        verdict = worst_verdict(group)
        if verdict in ("clean", "RESIDUE"):
            value = int(verdict == "clean")
            lines.append(f"xenscrub_clean{_labelled(labels(group[0]))} {value}")
    return "\n".join([*lines, "# EOF", ""])


def _metric_name(metric: Metric) -> str:
    unit = BASE[metric.unit][0]
    base = metric.name.removesuffix(f"_{unit}")
    return f"xenscrub_{base}_{unit}"


def _labelled(told: dict[str, str]) -> str:
    inside = ",".join(f'{key.lower()}="{_escaped(value)}"' for key, value in told.items())
    return f"{{{inside}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def named(rows: Sequence[Row]) -> list[tuple[str, Figure]]:
    """Figures by names of their own; without Xen's version, which changes from run to run.

    Only where there are several hosts, or Xens that differ in nothing else, the names have those.
    """
    found = comparable(rows)
    also = differing(found, ["host"])
    names = Counter((figure.named(also), figure.metric) for figure in found)
    if max(names.values(), default=1) > 1:
        also += differing(found, ["Xen"])
    return [(figure.named(also), figure) for figure in found]


def to_bmf(runs: Sequence[RunResults]) -> str:
    """Bencher Metric Format: medians by measurement and metric, with minimum and maximum."""
    told: dict[str, dict[str, dict[str, float]]] = {}
    for name, figure in named(last_rows(runs)):
        told.setdefault(name, {})[_metric_name(figure.metric)] = {
            "value": figure.median,
            "lower_value": min(figure.values),
            "upper_value": max(figure.values),
        }
    return json.dumps(told, indent=1) + "\n"


def to_github_action_benchmark(runs: Sequence[RunResults]) -> str:
    """Input for benchmark-action/github-action-benchmark, with its tool `customSmallerIsBetter`."""
    told = [
        {
            "name": f"{name}: {figure.metric.name}",
            "unit": BASE[figure.metric.unit][1],
            "value": figure.median,
            **_range(figure),
        }
        for name, figure in named(last_rows(runs))
        if not figure.metric.more_is_better
    ]
    return json.dumps(told, indent=1) + "\n"


def _range(figure: Figure) -> dict[str, str]:
    if len(figure.values) == 1:
        return {}
    return {"range": f"{min(figure.values):.4g}-{max(figure.values):.4g}"}
