# SPDX-License-Identifier: MIT
"""Keeps what a run measured as it happens, and compares and prints it at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.report.outcome import Outcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.report.frame_map import FrameMap
    from pytest_xenscrub.report.run_page import RunPage
    from pytest_xenscrub.report.wanted import Wanted
    from pytest_xenscrub.scrub.fit import Fit
    from pytest_xenscrub.scrub.row import Row, Setting
    from pytest_xenscrub.scrub.verdict import Verdict


class Records:
    """The rows of a run, and their evaluation.

    Attributes:
        comparison: the comparison with an earlier run, at the end, if one was asked for.
        faults: why the run fails even if its tests passed (`--xen-fail-if`).
        left_out: what `--xen-fail-if` left out, and why.
        lost: what could not be written to the results' file, if anything.

    Args:
        options: what the user asked for.
    """

    def __init__(self, options: Wanted) -> None:
        self.comparison: Comparison | None = None
        self.faults: list[str] = []
        self.left_out: list[str] = []
        self.lost = ""
        self._options = options
        self._outcomes = Outcomes()
        self._rows: dict[str, Row] = {}
        self._maps: dict[str, FrameMap] = {}
        self._tests: dict[str, Outcome] = {}

    # -- as it happens --------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_xenscrub_row(self, row: Row) -> None:
        """Store a row at once, before other hooks see it, so that later failures cannot lose it."""
        if self._draws:
            self._rows[row.id] = row
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append(row)
        if self._options.profile is not None and self._options.profile.folder is not None:
            from pytest_xenscrub.report.profile import write_folded  # noqa: PLC0415

            write_folded(row, self._options.profile.folder)

    def record_fit(self, setting: Setting, fit: Fit) -> None:
        """Store a fit of a test's rows."""
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append_fit(setting, fit)

    def note(self, report: pytest.TestReport, started: str) -> None:
        """Note the report of a phase of a test, and store how the test ended as soon as it has.

        A full disk does not end the run here; `lost` reports it at the end.
        """
        outcome = self._outcomes.note(report)
        if outcome is None:
            return
        if self._options.html is not None:
            self._tests[outcome.test] = outcome
        if self._options.results is None:
            return
        from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

        try:
            ResultsFile(self._options.results).append_test(outcome, started)
        except InfrastructureError as error:
            self.lost = str(error)

    def judged(self, row: Row | None, verdict: Verdict) -> None:
        """Keep a map of the machine's memory for the charts: each Xen's first one, or worst."""
        if not self._draws or row is None:
            return
        from pytest_xenscrub.report.frame_map import frame_map  # noqa: PLC0415 - brings numpy
        from pytest_xenscrub.report.table import test_name  # noqa: PLC0415 - as above

        variant = row.setting.variant
        known = self._maps.get(variant)
        if known is None or (known.state == "clean" and not verdict.clean):
            shown = frame_map(verdict, f"{test_name(row)} on {variant}")
            self._maps[variant] = shown
            if self._options.results is not None:
                from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

                ResultsFile(self._options.results).append_map(variant, shown, row.setting.started)

    @property
    def _draws(self) -> bool:
        """Whether there will be charts."""
        return self._options.plots is not None or self._options.html is not None

    def proven(self, run: str, known: dict[str, object]) -> None:
        """Store what the whole run has proven.

        Args:
            run: the run's tag.
            known: the run's start, exit status and command, and what was proven.
        """
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append_run(run, known)

    @property
    def _page(self) -> RunPage | None:
        if self._options.html is None:
            return None
        from pytest_xenscrub.report.run_page import RunPage  # noqa: PLC0415 - if asked for

        return RunPage(self._options.html, self._options.logs, self._options.results)

    def page_begins(self, started: str) -> None:
        """Write a page that says UNFINISHED.

        Raises:
            ConfigurationError: the page cannot be written.
        """
        try:
            if page := self._page:
                page.begin(started)
        except OSError as error:
            raise ConfigurationError(
                f"--xen-html: {self._options.html}: cannot be written: {error.strerror}",
                todo="name a file on another disk",
            ) from None

    # -- at the end -----------------------------------------------------------------------------

    def page_ends(
        self, reporter: pytest.TerminalReporter | None, started: str, known: dict[str, object]
    ) -> str:
        """Write the page; gives a line that says where it is, or why there is none.

        Args:
            reporter: pytest's; None if pytest prints nothing.
            started: start of the run.
            known: as for `proven`.
        """
        page = self._page
        if page is None:
            return ""
        rows = [] if reporter is None else self.rows(reporter)
        # A test that was cut short has no last report, but this process has its rows.
        every = {row.id: row for row in rows} | self._rows
        tests = {test.test: test for test in self._outcomes.cut_short()} | self._tests
        from pytest_xenscrub.report.results import RunResults  # noqa: PLC0415 - with a page

        run = RunResults(started, every, tests, known, dict(self._maps))
        try:
            page.end(
                run, earlier=self._options.compare or (), comparison=self.comparison,
                faults=self.faults, notes=self.left_out,
            )  # fmt: skip
        except OSError as error:  # the run's result does not depend on the page
            return f"the page cannot be written: {error.strerror}: {self._options.html}"
        return f"all of it is in {self._options.html}"

    def rows(self, reporter: pytest.TerminalReporter) -> list[Row]:
        """Every row of the run, including those of tests in other processes.

        Rows travel in the reports' `user_properties`; the last report of a test has all of them.
        """
        properties: dict[str, list[tuple[str, object]]] = {}
        for reports in reporter.stats.values():
            for report in reports:
                carried = getattr(report, "user_properties", [])
                if len(carried) > len(properties.get(report.nodeid, [])):
                    properties[report.nodeid] = carried
        if not properties:
            return []
        from pytest_xenscrub.report.results import rows_of  # noqa: PLC0415 - if there are any

        return [row for test, carried in properties.items() for row in rows_of(test, carried)]

    def compare(self, reporter: pytest.TerminalReporter | None) -> bool:
        """Compare with the run of `--xen-compare`; returns whether this run may still pass."""
        if self._options.compare is None:
            return True
        from pytest_xenscrub.report.baseline import compare_runs  # noqa: PLC0415 - if asked for
        from pytest_xenscrub.report.gate import (  # noqa: PLC0415 - as above
            left_out,
            verdicts,
            within_noise,
        )

        rows = [] if reporter is None else self.rows(reporter)
        self.comparison = compare_runs(self._options.compare, rows)
        if self._options.fail_if:
            self.faults = verdicts(self._options.fail_if, self.comparison)
            self.left_out = [
                *left_out(self.comparison), *within_noise(self._options.fail_if, self.comparison)
            ]  # fmt: skip
        return not self.faults

    @property
    def worse(self) -> bool:
        """Whether a figure is worse than allowed; a figure that was not compared does not count."""
        return any(fault.startswith("worse: ") for fault in self.faults)

    def tell(
        self,
        reporter: pytest.TerminalReporter,
        *,
        first: Callable[[], str],
        no_profile: str,
    ) -> None:
        """Print the tables, draw the charts.

        Args:
            reporter: pytest's.
            first: gives the variant that the others are compared with.
            no_profile: why a run with --xen-profile has no profile.
        """
        rows = self.rows(reporter)
        if not rows and self.comparison is None:
            return
        from pytest_xenscrub.report.summary import print_summary  # noqa: PLC0415 - if any

        print_summary(
            reporter, rows,
            first=first(), repeated=self._options.repeat > 1,
            comparison=self.comparison, faults=self.faults, left_out=self.left_out,
            profile=self._profile(rows, no_profile),
            columns=self._options.columns,
        )  # fmt: skip
        self._draw(rows, reporter)

    def _profile(self, rows: list[Row], no_profile: str) -> str:
        if self._options.profile is None:
            return ""
        from pytest_xenscrub.report.profile import render_profiles  # noqa: PLC0415 - if asked for

        return no_profile or render_profiles(rows)

    def _draw(self, rows: list[Row], reporter: pytest.TerminalReporter) -> None:
        if self._options.plots is None or not rows:
            return
        from pytest_xenscrub.report.plots import draw  # noqa: PLC0415 - if asked for

        # Rows of this process have more data than those that travel with reports.
        known = [self._rows.get(row.id, row) for row in rows]
        try:
            paths = draw(known, self._maps, self._options.plots)
        except OSError as error:  # the run's result does not depend on the charts
            reporter.write_line(f"charts cannot be written: {error.strerror}: {error.filename}")
            return
        if reporter.config.option.verbose >= 0:
            reporter.write_line(f"{len(paths)} files with charts are in {self._options.plots}")
