# SPDX-License-Identifier: MIT
"""`--xen-fail-if`: fails the run if a metric regressed by more than its limit.

A metric that could not be compared fails the run as well. A regression of a median or a mean that
the repeats of both runs show to be noise does not fail the run, and is reported. For a minimum or a
maximum, or with too few repeats, the limit alone decides.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.changes import fed
from pytest_xenscrub.report.statistics import FEW, Noise, chance, noise
from pytest_xenscrub.report.table import values
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.scrub.row import Metric

_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "min": min,
    "max": max,
}

_OF_ONE_VALUE = ("min", "max")
"""Statistics that are single values, so that noise does not excuse them."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """A limit, such as `destroy:median:10%`.

    Attributes:
        metric: the metric.
        statistic: the statistic of the repeats: median, mean, min or max.
        share: how much worse than the earlier value it may be, as a share.
    """

    metric: Metric
    statistic: str
    share: float


def parse_limit(text: str) -> Limit:
    """Parse `METRIC:STATISTIC:LIMIT`; a metric may have the name of its column.

    Raises:
        ConfigurationError: the text is invalid.
    """
    example = "write it as METRIC:STATISTIC:LIMIT%, as in destroy:median:10%"
    name, *rest = text.split(":")
    if len(rest) != 2:  # noqa: PLR2004 - the statistic and the limit
        raise ConfigurationError(f"{text!r} is not a limit", todo=example)
    known = {metric.name: metric for metric in METRICS}
    known |= {metric.column: metric for metric in METRICS if metric.column}
    if name not in known:
        raise ConfigurationError(f"{name!r} is not one of: {', '.join(m.name for m in METRICS)}")
    statistic, limit = rest
    if statistic not in _STATISTICS:
        raise ConfigurationError(f"{statistic!r} is not one of: {', '.join(_STATISTICS)}")
    digits = limit.removesuffix("%")
    if digits == limit or not digits.isascii() or not digits.replace(".", "", 1).isdigit():
        raise ConfigurationError(f"{limit!r} is not a percentage", todo=example)
    return Limit(known[name], statistic, float(digits) / 100)


def left_out(comparison: Comparison) -> list[str]:
    """Figures that are not compared with limits, a line each, because the host was starved."""
    lines = []
    for pair in comparison.pairs:
        for rows, run in ((pair.then, "the earlier run"), (pair.now, "this run")):
            if starved := sum(row.too_starved for row in rows):
                lines.append(
                    f"left out: {pair.name}: {starved} of {len(rows)} of {run}: other work kept"
                    " the host from running"
                )
    return lines


def verdicts(limits: Iterable[Limit], comparison: Comparison) -> list[str]:
    """Why the run fails, a line each; empty if every limit was compared and kept.

    Figures of a starved host neither break a limit nor keep it.
    """
    faults = [f"not compared: {line}" for line in comparison.mismatches]
    starved = " on a host that was not starved" if left_out(comparison) else ""
    for limit in limits:
        compared = _compared(limit, comparison)
        faults += [told.line for each in compared for told in _judge(limit, *each) if told.fails]
        if not compared:
            faults.append(
                f"not compared: {limit.metric.name} {limit.statistic}: not measured in any test"
                f" of both runs{starved}"
            )
    return faults


def within_noise(limits: Iterable[Limit], comparison: Comparison) -> list[str]:
    """Figures beyond their limits that do not fail the run, because they are no more than noise."""
    return [
        told.line
        for limit in limits
        for each in _compared(limit, comparison)
        for told in _judge(limit, *each)
        if not told.fails
    ]


@dataclasses.dataclass(frozen=True)
class _Told:
    """The result for one limit and measurement.

    Attributes:
        line: a sentence.
        fails: whether it fails the run.
    """

    line: str
    fails: bool = True


def _compared(limit: Limit, comparison: Comparison) -> list[tuple[str, list[float], list[float]]]:
    """The measurements that a limit applies to: their names, and the values of both runs."""
    found = []
    for pair in comparison.pairs:
        then, now = fed(pair.then), fed(pair.now)
        before, after = values(then, limit.metric), values(now, limit.metric)
        if then and now and (before or after):
            found.append((pair.name, before, after))
    return found


def _judge(limit: Limit, name: str, before: list[float], after: list[float]) -> Iterator[_Told]:
    label = f"{name}: {limit.metric.name} {limit.statistic}"
    if not before or not after:
        when = "now" if before else "in the earlier run"
        yield _Told(f"not compared: {label}: not measured {when}")
        return
    then, now = (_STATISTICS[limit.statistic](known) for known in (before, after))
    more_is_better = limit.metric.more_is_better
    allowed = then * (1 - limit.share if more_is_better else 1 + limit.share)
    if now < allowed if more_is_better else now > allowed:
        unit = limit.metric.unit
        change = f"{abs(now / then - 1):.1%} {'more' if now > then else 'less'}" if then else "more"
        lower, higher = (after, before) if more_is_better else (before, after)
        is_noise = noise(lower, higher)
        fails = is_noise is not Noise.WITHIN or limit.statistic in _OF_ONE_VALUE
        yield _Told(
            f"{'worse' if fails else 'within noise'}: {label}:"
            f" {unit.show(then)} then, {unit.show(now)} {unit.name} now:"
            f" {change}, and {limit.share:.1%} are allowed;"
            f" {_sure(is_noise, len(before), len(after), chance(lower, higher))}",
            fails,
        )


def _sure(is_noise: Noise, before: int, after: int, by_chance: float) -> str:
    """How sure it is that a figure became worse, by the ranks of all repeats.

    Args:
        is_noise: the result of the rank test.
        before: number of repeats in the earlier run.
        after: number of repeats in this run.
        by_chance: probability of such ranks if nothing has changed.
    """
    if is_noise is Noise.UNKNOWN:
        return (
            f"{before} and {after} repeats are too few to tell that from noise"
            f" ({FEW} and {FEW} could), so the limit alone decides"
        )
    sure = f"{before} and {after} repeats rank so by chance in {by_chance:.1%} of cases"
    return f"more than noise: {sure}" if is_noise is Noise.MORE else sure
