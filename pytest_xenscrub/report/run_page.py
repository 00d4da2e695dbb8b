# SPDX-License-Identifier: MIT
"""`--xen-html`: the page of a run, written when the run ends.

A run that is killed cannot write it. So that nobody takes an older page for this run's, one that
says UNFINISHED stands there from the start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.logs import file_name
from pytest_xenscrub.report.results import RunResults, read_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.report.page import Extras
    from pytest_xenscrub.scrub.row import Row


class LogFiles:
    """The files of `--xen-logs`, as a page links to them.

    Args:
        folder: of the logs; None where there are none.
        page: the page; links are relative to its folder, so that both can be moved together.
    """

    def __init__(self, folder: Path | None, page: Path) -> None:
        self._folder = folder
        self._beside = page.parent

    def of(self, name: str) -> list[tuple[str, str]]:
        """Those of a test, by its id, or of a host: their names, and links to them."""
        if self._folder is None:
            return []
        files = sorted(path for path in (self._folder / file_name(name)).glob("*"))
        return [(path.name, quote(os.path.relpath(path, self._beside))) for path in files]


class RunPage:
    """A run's page.

    Args:
        path: of the page.
        logs: folder of the run's logs, if there is one.
        results: file of results, which may have earlier runs.
    """

    def __init__(self, path: Path, logs: Path | None, results: Path | None) -> None:
        self._path = path
        self._files = LogFiles(logs, path)
        self._results = results

    def begin(self, started: str) -> None:
        """Say that the run has not ended.

        Raises:
            OSError: the page cannot be written.
        """
        self._write([RunResults(started)])

    def end(
        self,
        run: RunResults,
        *,
        earlier: Iterable[Row],
        comparison: Comparison | None,
        faults: Sequence[str],
        notes: Sequence[str],
    ) -> None:
        """Write the page of a run that has ended.

        Args:
            run: what is known of it.
            earlier: rows of `--xen-compare`.
            comparison: with those.
            faults: why the run fails though its tests may have passed.
            notes: what no limit was held to, and why.

        Raises:
            OSError: the page cannot be written.
        """
        from pytest_xenscrub.report.page import Extras  # noqa: PLC0415 - an extra

        known = self._runs_of_file()
        if this := known.pop(run.started, None):  # has what ran in other processes
            run.maps = {**this.maps, **run.maps}
            run.rows = {**this.rows, **run.rows}
        for row in earlier:
            before = known.setdefault(row.setting.started, RunResults(row.setting.started))
            before.rows.setdefault(row.id, row)
        extras = Extras(
            sorted(known.values(), key=lambda run: run.started), comparison, faults, notes,
            self._files.of,
        )  # fmt: skip
        self._write([run], extras)

    def _runs_of_file(self) -> dict[str, RunResults]:
        """The runs of the file of results; none where it cannot be read."""
        if self._results is None:
            return {}
        try:
            return {run.started: run for run in read_runs(self._results)}
        except ConfigurationError:
            return {}  # somebody has written to it: the page is of this run all the same

    def _write(self, runs: Sequence[RunResults], *extras: Extras) -> None:
        from pytest_xenscrub.report.page import to_html  # noqa: PLC0415 - an extra

        self._path.write_bytes(to_html(runs, *extras).encode(errors="replace"))
