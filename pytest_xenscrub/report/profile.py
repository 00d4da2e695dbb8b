# SPDX-License-Identifier: MIT
"""Profiles as tables, one for each part of a destroy, and as folded stacks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tabulate import tabulate

from pytest_xenscrub.scrub.profile import AFTER, DESTROY, IDLE, NO_SYMBOL, profile_from
from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_xenscrub.scrub.profile import Part
    from pytest_xenscrub.scrub.row import Row

_PARTS = {DESTROY: "destroy issued → returned", AFTER: "destroy returned → watched no more"}
_LEAST_SHARE = 0.01
"""Share of busy time; functions below it on every Xen share one line."""
_FEWEST = 20
"""Least number of samples that are shown."""


@dataclass
class _Total:
    """All profiles of one Xen, for one part of a destroy."""

    destroys: int = 0
    memory_bytes: int = 0
    samples: int = 0
    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, part: Part, memory_bytes: int) -> None:
        self.destroys += 1
        self.memory_bytes += memory_bytes
        self.samples += part.samples
        self.seconds += part.seconds
        for stack in part.stacks:
            name = stack.rpartition(";")[2]
            known = self.cpu_seconds.get(name, 0.0)
            self.cpu_seconds[name] = known + part.cpu_seconds(stack)

    @property
    def busy(self) -> float:
        """CPU time that was not idle, s."""
        return sum(self.cpu_seconds.values()) - self.cpu_seconds.get(IDLE, 0.0)

    def share(self, name: str) -> float:
        """A function's share of the busy time; for idle time, its share of all time."""
        whole = sum(self.cpu_seconds.values()) if name == IDLE else self.busy
        return self.cpu_seconds.get(name, 0.0) / whole if whole else 0.0

    def per_gib(self, name: str) -> float:
        """CPU time for each GiB of the guests that ended, ms."""
        return 1000 * self.cpu_seconds.get(name, 0.0) * GIB / self.memory_bytes


def render_profiles(rows: Iterable[Row]) -> str:
    """A table for each part: what the CPUs did, for each Xen, and the difference to the first Xen.

    Shares are of the CPUs' busy time; the share of idle time is of all time. ms are CPU time for
    each GiB of guest memory. Empty without profiles.
    """
    known = [(row, profile_from(row.profile)) for row in rows if row.profile is not None]
    blocks = []
    for part, title in _PARTS.items():
        totals: dict[str, _Total] = {}
        for row, profile in known:
            seen: Part = getattr(profile, part)
            total = totals.setdefault(row.setting.variant, _Total())
            total.add(seen, row.memory_bytes)
        totals = {name: total for name, total in totals.items() if total.samples >= _FEWEST}
        if totals:
            blocks.append(f"{title}\n{_table(totals)}")
    if known and not blocks:
        blocks.append(f"too few samples of the CPUs: less than {_FEWEST}")
    notes = dict.fromkeys(
        f"{row.setting.variant}: {_symbols_note(profile.symbols)}" for row, profile in known
    )
    return "\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])])


def _symbols_note(symbols: str) -> str:
    if symbols:
        return f"names of Xen's functions are from {symbols}"
    return f"no symbols: Xen's functions are all {NO_SYMBOL}"


def _table(totals: dict[str, _Total]) -> str:
    shown, left = _choose(totals.values())
    lines = [_line(name, name, totals.values()) for name in shown]
    if left:
        rest = f"({len(left)} others)"
        for total in totals.values():
            total.cpu_seconds[rest] = sum(total.cpu_seconds.get(name, 0.0) for name in left)
            for name in left:
                total.cpu_seconds.pop(name, None)
        lines.append(_line(rest, rest, totals.values()))
    lines.append(_line(f"({IDLE}, of all)", IDLE, totals.values()))
    headers = ["function"]
    for name in totals:
        headers += [name, "ms/GiB"]
    headers += [f"{name} - {next(iter(totals))}" for name in list(totals)[1:]]
    counts = "; ".join(
        f"{name}: {total.destroys} destroys, {total.samples} samples of the CPUs,"
        f" {total.samples / total.seconds:.0f} a second"
        for name, total in totals.items()
    )
    align = ["left", *["right"] * (len(headers) - 1)]
    return f"{tabulate(lines, headers=headers, disable_numparse=True, colalign=align)}\n{counts}"


def _choose(totals: Iterable[_Total]) -> tuple[list[str], list[str]]:
    """Choose the names that get a line, by their largest share; gives the other names, too."""
    share: dict[str, float] = {}
    for total in totals:
        for name in total.cpu_seconds:
            if name != IDLE:
                share[name] = max(share.get(name, 0.0), total.share(name))
    names = sorted(share, key=lambda name: -share[name])
    return (
        [name for name in names if share[name] >= _LEAST_SHARE],
        [name for name in names if share[name] < _LEAST_SHARE],
    )


def _line(shown: str, name: str, totals: Iterable[_Total]) -> list[str]:
    first, *others = totals
    line = [shown]
    for total in (first, *others):
        line += [f"{total.share(name):.1%}", f"{total.per_gib(name):.1f}"]
    return line + [f"{total.per_gib(name) - first.per_gib(name):+.1f}" for total in others]


def write_folded(row: Row, folder: Path) -> None:
    """Write a row's profile as folded stacks: a file for each row, named after test and number.

    That is what `flamegraph.pl`, inferno and speedscope read: `destroy;Xen;put_page 311`.
    """
    if row.profile is None:
        return
    profile = profile_from(row.profile)
    name = re.sub(r"[^\w.=+#-]+", "-", row.id.rpartition("::")[2])
    lines = folded({part: getattr(profile, part) for part in _PARTS})
    (folder / f"{name}.folded").write_text("\n".join(lines) + "\n", encoding="utf-8")


def folded(parts: dict[str, Part]) -> list[str]:
    """Folded stacks, the most frequent first."""
    return [
        f"{name};{stack} {count}"
        for name, part in parts.items()
        for stack, count in sorted(part.stacks.items(), key=lambda each: (-each[1], each[0]))
    ]
