# SPDX-License-Identifier: MIT
"""`--xen-html`: the page of a run, written when the run ends.

A run that is killed cannot write its page. So a page that says UNFINISHED is written at the start,
to keep an older page from being taken for this run's.
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
    """The files of `--xen-logs`, for links on a page.

    Args:
        folder: folder of the logs; None without logs.
        page: the page; links are relative to its folder, so that both can be moved together.
    """

    def __init__(self, folder: Path | None, page: Path) -> None:
        self._folder = folder
        self._beside = page.parent

    def of(self, name: str) -> list[tuple[str, str]]:
        """The files of a test, by its id, or of a host: their names, and links to them."""
        if self._folder is None:
            return []
        files = sorted(path for path in (self._folder / file_name(name)).glob("*"))
        return [(path.name, quote(os.path.relpath(path, self._beside))) for path in files]


class RunPage:
    """A run's page.

    Args:
        path: path of the page.
        logs: folder of the run's logs, if there is one.
        results: file of results, which may have earlier runs.
    """

    def __init__(self, path: Path, logs: Path | None, results: Path | None) -> None:
        self._path = path
        self._files = LogFiles(logs, path)
        self._results = results

    def begin(self, started: str) -> None:
        """Write a page that says UNFINISHED.

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
            run: the run.
            earlier: rows of `--xen-compare`.
            comparison: the comparison with those.
            faults: why the run fails even if its tests passed.
            notes: what limits left out, and why.

        Raises:
            OSError: the page cannot be written.
        """
        from pytest_xenscrub.report.page import Extras  # noqa: PLC0415 - an extra

        known = self._runs_of_file()
        if this := known.pop(run.started, None):  # the file also has the rows of other processes
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
        """The runs in the file of results; none if the file cannot be read."""
        if self._results is None:
            return {}
        try:
            return {run.started: run for run in read_runs(self._results)}
        except ConfigurationError:
            return {}  # the file was changed by hand: the page shows this run alone

    def _write(self, runs: Sequence[RunResults], *extras: Extras) -> None:
        from pytest_xenscrub.report.page import to_html  # noqa: PLC0415 - an extra

        self._path.write_bytes(to_html(runs, *extras).encode(errors="replace"))
