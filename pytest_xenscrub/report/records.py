# SPDX-License-Identifier: MIT
"""What a run measured: kept as it happens, compared and told at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.report.outcome import Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.report.baseline import Comparison
    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.report.judged import Proof
    from pytest_xenscrub.report.plots.frames import FrameMap
    from pytest_xenscrub.scrub.fit import Fit
    from pytest_xenscrub.scrub.row import Row, Setting
    from pytest_xenscrub.scrub.verdict import Verdict


@dataclass(frozen=True)
class ProfileChoice:
    """`--xen-profile`, with or without a folder for what flame-graph tools read."""

    folder: Path | None


class Wanted(Protocol):
    """What the user asked for of the records; options of the run."""

    @property
    def plots(self) -> Path | None:
        """Folder for charts."""

    @property
    def results(self) -> Path | None:
        """File of results."""

    @property
    def profile(self) -> ProfileChoice | None:
        """Whether destroys are profiled, and the folder for folded stacks."""

    @property
    def compare(self) -> tuple[Row, ...] | None:
        """Rows of an earlier run."""

    @property
    def fail_if(self) -> tuple[Limit, ...]:
        """How much worse than the earlier run a figure may be."""

    @property
    def repeat(self) -> int:
        """How often each test runs."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the tables, if the user chose."""


class Records:
    """The rows of a run, and what else they come to.

    Attributes:
        comparison: with an earlier run, at the end, if one was asked for.
        faults: why the run fails though its tests may have passed (`--xen-fail-if`).
        left_out: what `--xen-fail-if` was not held to, and why.
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

    # -- as it happens --------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_xenscrub_row(self, row: Row) -> None:
        """Keep a row, now and before others see it: what happens later must not lose it."""
        if self._options.plots is not None:
            self._rows[row.id] = row
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append(row)
        if self._options.profile is not None and self._options.profile.folder is not None:
            from pytest_xenscrub.report.profile import write_folded  # noqa: PLC0415

            write_folded(row, self._options.profile.folder)

    def record_fit(self, setting: Setting, fit: Fit) -> None:
        """Keep what the rows of a test come to."""
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append_fit(setting, fit)

    def note(self, report: pytest.TestReport, started: str) -> None:
        """A phase of a test has ended: keep how the test ended, as soon as it has.

        A disk that is full ends no run here: `lost` says so at its end.
        """
        outcome = self._outcomes.note(report)
        if outcome is None or self._options.results is None:
            return
        from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

        try:
            ResultsFile(self._options.results).append_test(outcome, started)
        except InfrastructureError as error:
            self.lost = str(error)

    def judged(self, row: Row | None, verdict: Verdict) -> None:
        """Keep a map of the machine's memory for the charts: of each Xen the first, or worst."""
        if self._options.plots is None or row is None:
            return
        from pytest_xenscrub.report.plots.frames import frame_map  # noqa: PLC0415 - with plots
        from pytest_xenscrub.report.table import test_name  # noqa: PLC0415 - as above

        variant = row.setting.variant
        known = self._maps.get(variant)
        if known is None or (known.state == "clean" and not verdict.clean):
            self._maps[variant] = frame_map(verdict, f"{test_name(row)} on {variant}")

    def proven(self, proof: Proof, run: str, started: str, status: int) -> None:
        """Keep what the whole run comes to."""
        if self._options.results is not None:
            from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415

            ResultsFile(self._options.results).append_run(
                run, {"started": started, "status": status, **proof.as_dict()}
            )

    # -- at the end -----------------------------------------------------------------------------

    def rows(self, reporter: pytest.TerminalReporter) -> list[Row]:
        """Every row of the run, also of those tests that ran in other processes.

        They travel in the reports' `user_properties`; the last report of a test has all of them.
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
        """Compare with the earlier run of `--xen-compare`; whether the run may still pass."""
        if self._options.compare is None:
            return True
        from pytest_xenscrub.report.baseline import compare_runs  # noqa: PLC0415 - if asked for
        from pytest_xenscrub.report.gate import left_out, verdicts  # noqa: PLC0415

        rows = [] if reporter is None else self.rows(reporter)
        self.comparison = compare_runs(self._options.compare, rows)
        if self._options.fail_if:
            self.faults = verdicts(self._options.fail_if, self.comparison)
            self.left_out = left_out(self.comparison)
        return not self.faults

    @property
    def worse(self) -> bool:
        """Whether a figure is worse than allowed; one that was not compared is not."""
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
            no_profile: why there is no profile though one was asked for.
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

        # What was measured in this process has more in it than what travels with reports.
        known = [self._rows.get(row.id, row) for row in rows]
        try:
            paths = draw(known, self._maps, self._options.plots)
        except OSError as error:  # all that was proven stands without them
            reporter.write_line(f"charts cannot be written: {error.strerror}: {error.filename}")
            return
        if reporter.config.option.verbose >= 0:
            reporter.write_line(f"{len(paths)} files with charts are in {self._options.plots}")
