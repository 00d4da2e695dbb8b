# SPDX-License-Identifier: MIT
"""Writes rows into the results file and into properties of reports, and reads them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.report.checked import object_of, outcome_of, row_of
from pytest_xenscrub.scrub.row import row_from

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import FileIO
    from pathlib import Path

    from pytest_xenscrub.report.frame_map import FrameMap
    from pytest_xenscrub.report.outcome import Outcome
    from pytest_xenscrub.scrub.fit import Fit
    from pytest_xenscrub.scrub.row import Row, Setting

SCHEMA = 1
"""Version of the lines in a file of results, as `schema`; lines without it are older.

A new key does not change the number, because readers ignore unknown keys. Increase it when a key is
removed, or changes its meaning.
"""
# Left out of reports: the report names the test, and series are too long to travel with each
# report.
_NO_PROPERTY = ("test", "number", "series")
_PROPERTY = re.compile(r"xen\[(\d+)\]\.(\w+)")


class ResultsFile:
    """JSON lines, one object on each line; the last of several lines with the same `id` counts.

    Each line is appended and flushed at once, under a lock: workers may share the file, and its
    lines are safe whatever happens next.

    Args:
        path: the file; appended to if it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        """Raise `ConfigurationError` at once if the file cannot be written."""
        if self._path.is_fifo():
            raise ConfigurationError(f"{self._path}: cannot be written: it is a pipe, not a file")
        try:
            with self._path.open("ab"):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"{self._path}: cannot be written: {error.strerror}",
                todo="name a file in a folder that is there and that you can write",
            ) from None

    def append(self, row: Row) -> None:
        """Write a row as it is now."""
        self._write({"id": row.id, **row.as_dict()})

    def append_fit(self, setting: Setting, fit: Fit) -> None:
        """Write a fit of a test's rows; such a line has the figure's name as `fit`."""
        line = asdict(fit)
        metric = line.pop("metric")
        self._write(
            {"id": f"{setting.test}#fit-{metric}", "fit": metric, **asdict(setting), **line}
        )

    def append_test(self, outcome: Outcome, started: str) -> None:
        """Write how a test ended; such a line has it as `tested`, and a `fit`: see `append_run`."""
        line = {"id": f"{outcome.test}#test", "fit": None, "started": started}
        self._write({**line, "tested": asdict(outcome)})

    def append_run(self, run: str, known: dict[str, object]) -> None:
        """Write what a whole run has proven; such a line has it as `run`.

        It has a `fit` for readers of earlier versions, which ignore lines with one.
        """
        self._write({"id": f"{run}#run", "fit": None, "run": known})

    def append_map(self, variant: str, shown: FrameMap, started: str) -> None:
        """Write a map of memory; the last one of a variant counts. Such a line has it as `map`."""
        line = {"id": f"{variant}#map", "fit": None, "started": started, "variant": variant}
        self._write({**line, "map": shown.as_dict()})

    def _write(self, record: dict[str, object]) -> None:
        """Write a line, completely or not at all.

        Raises:
            InfrastructureError: the disk is full, or failed.
        """
        line = (json.dumps({"at": time.time(), "schema": SCHEMA, **record}) + "\n").encode()
        # Unbuffered, so that closing the file does not try again to write a failed line.
        try:
            with self._path.open("ab", buffering=0) as file:
                self._write_whole(file, line)
        except OSError as error:
            raise InfrastructureError(
                f"a result could not be written: {error.strerror}",
                tried=f"--xen-results={self._path}",
                todo="make room there, or name a file on another disk; the results before this"
                " one are in it",
            ) from None

    def _write_whole(self, file: FileIO, line: bytes) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
        status = os.fstat(file.fileno())
        if self._is_cut_off(status):  # this line must not become a part of that one
            line = b"\n" + line
        try:
            while line:
                line = line[file.write(line) :]
            if stat.S_ISREG(status.st_mode):
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(status.st_size)
            raise

    def _is_cut_off(self, status: os.stat_result) -> bool:
        """Whether the file ends within a line: the machine ended while it was written."""
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return False
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


@dataclass
class RunResults:
    """One run in a file.

    Attributes:
        started: start of the run, UTC, in ISO 8601; empty if unknown.
        rows: the last row of each `id`.
        tests: how each test ended, by its id.
        maps: maps of memory, by variant.
        known: what the run has proven; None for a run that was cut short, or is not finished.
    """

    started: str
    rows: dict[str, Row] = field(default_factory=dict)
    tests: dict[str, Outcome] = field(default_factory=dict)
    known: dict[str, object] | None = None
    maps: dict[str, FrameMap] = field(default_factory=dict)


def read_results(path: Path) -> list[Row]:
    """The rows of the last run in a file of `ResultsFile`.

    Raises:
        ConfigurationError: the file cannot be read, has a line that is not a result, or has no
            rows.
    """
    rows = last_rows(read_runs(path))
    if not rows:
        raise ConfigurationError(f"{path}: there is no result in it")
    return rows


def last_rows(runs: Iterable[RunResults]) -> list[Row]:
    """The last row of each measurement; one on another host, or another Xen, is another one."""
    rows = {(key, _where(row)): row for run in runs for key, row in run.rows.items()}
    return list(rows.values())


def last_tests(runs: Iterable[RunResults]) -> list[Outcome]:
    """How each test ended last; on another host, or another Xen, it is another one."""
    tests: dict[object, Outcome] = {}
    for run in runs:
        by_test: dict[str, set[object]] = {}
        for row in run.rows.values():
            by_test.setdefault(row.setting.test, set()).add(_where(row))
        # Of a test that measured nothing the run says where it was.
        whole = frozenset(_where(row) for row in run.rows.values())
        for name, outcome in run.tests.items():
            tests[name, frozenset(by_test.get(name, whole))] = outcome
    return list(tests.values())


def _where(row: Row) -> tuple[object, ...]:
    s = row.setting
    return s.host, s.kind, s.toolstack, s.variant, s.guest_type, s.debug, s.fill_share


def read_runs(path: Path) -> list[RunResults]:
    """All runs in a file of `ResultsFile`, in the order of their first lines.

    Raises:
        ConfigurationError: the file cannot be read, or has a line that is not a result.
    """
    runs: dict[str, RunResults] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            flat = object_of(line)
            if flat.get("schema", 0) > SCHEMA:
                raise ConfigurationError(
                    f"{path}:{number}: a later version of pytest-xenscrub wrote it"
                    f" (schema {flat['schema']}; this version reads schemas up to {SCHEMA})",
                    todo="pip install --upgrade pytest-xenscrub",
                )
            _take(flat, runs)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ConfigurationError(
                f"{path}:{number}: no result",
                todo="give a file that --xen-results has written; of one that a machine's end has"
                " cut off in the middle of a line, remove that line",
            ) from None
    return list(runs.values())


def _take(flat: dict[str, Any], runs: dict[str, RunResults]) -> None:
    """Add a line to its run.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the line is not a result.
    """
    if "fit" in flat and not {"run", "tested", "map"} & flat.keys():
        return  # computed again from the rows
    known = dict(flat["run"]) if "run" in flat else flat
    started = str(known.get("started", ""))
    run = runs.setdefault(started, RunResults(started))
    if "run" in flat:
        run.known = known
    elif "tested" in flat:
        outcome = outcome_of(flat["tested"])
        run.tests[outcome.test] = outcome
    elif "map" in flat:
        from pytest_xenscrub.report.frame_map import map_from  # noqa: PLC0415 - brings numpy

        run.maps[str(flat["variant"])] = map_from(flat["map"])
    else:
        row = row_of(flat)
        run.rows[row.id] = row


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(
            f"{path}: cannot be read: it is not text",
            todo="give a file that --xen-results has written",
        ) from None


def as_properties(rows: Iterable[Row]) -> list[tuple[str, object]]:
    """Rows as `user_properties`, such as `xen[0].destroy`; leaves out what was not measured."""
    return [
        (f"xen[{row.number}].{key}", value)
        for row in rows
        for key, value in row.as_dict().items()
        if value is not None and key not in _NO_PROPERTY
    ]


def fits_as_properties(fits: Iterable[Fit]) -> list[tuple[str, object]]:
    """Fits as `user_properties`: `xen.fit.destroy.seconds_per_gib` and so on."""
    return [
        (f"xen.fit.{fit.metric}.{key}", value)
        for fit in fits
        for key, value in asdict(fit).items()
        if key != "metric"
    ]


def next_number(properties: Iterable[tuple[str, object]]) -> int:
    """The number of a test's next row; above 0 if the test is run again."""
    found = (_PROPERTY.fullmatch(name) for name, _ in properties)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def rows_of(test: str, properties: Iterable[tuple[str, Any]]) -> list[Row]:
    """The rows that `as_properties` turned into these properties."""
    flat: dict[int, dict[str, object]] = {}
    for name, value in properties:
        if match := _PROPERTY.fullmatch(name):
            number = int(match[1])
            row = flat.setdefault(number, {"test": test, "number": number})
            row[match[2]] = value
    return [row_from(flat[number]) for number in sorted(flat)]
