# SPDX-License-Identifier: MIT
"""The end of a run: compares, prints and stores what was proven, and gives the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.options import asked_for_xen
from pytest_xenscrub.report.logs import add_suite_property
from pytest_xenscrub.run import blame
from pytest_xenscrub.run.command_line import command_line

if TYPE_CHECKING:
    import pytest

    from pytest_xenscrub.report.judged import Proof
    from pytest_xenscrub.run.session import Session

NOTHING_JUDGED = "a Xen was asked for, and nothing was judged"
NO_SCENARIO = (
    "a Xen was asked for, and no test that ran uses a host; the suite is run by"
    " pytest --pyargs pytest_xenscrub.suite"
)
_TOLD = (0, 1, 2, 5, blame.INFRASTRUCTURE_STATUS)
"""Exit statuses of runs that got as far as their tests."""


class Ending:
    """How a run ends.

    Args:
        session: the run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def status(self, status: int, reporter: pytest.TerminalReporter | None) -> int:
        """Compare with an earlier run, store what was proven, and give the run's exit status.

        Args:
            status: pytest's own.
            reporter: pytest's; None if pytest prints nothing.
        """
        session = self._session
        gate_open = session.records.compare(reporter)
        session.blame.worse = session.records.worse
        proof = session.tally.proof()
        if not self._asked(proof):
            return session.blame.status(status, gate_open=gate_open, judged_nothing=False)
        status = session.blame.status(status, gate_open=gate_open, judged_nothing=not proof.judged)
        try:
            session.records.proven(session.tag, self._known(status, proof))
        except InfrastructureError as error:
            session.records.lost = str(error)
        if session.records.lost:
            status = status or blame.INFRASTRUCTURE_STATUS
        for name, value in proof.as_properties():
            add_suite_property(session.config, name, value)
        return status

    def _known(self, status: int, proof: Proof) -> dict[str, object]:
        """What the whole run came to, for the results."""
        session = self._session
        return {
            "started": session.started,
            "status": status,
            "command": command_line(session.config),
            **({"faults": list(session.records.faults)} if session.records.faults else {}),
            **proof.as_dict(),
        }

    def page_begins(self) -> None:
        """Write a page for `--xen-html` that says UNFINISHED.

        Raises:
            ConfigurationError: the page cannot be written.
        """
        config = self._session.config
        if not (hasattr(config, "workerinput") or config.option.setupplan):
            self._session.records.page_begins(self._session.started)

    def page_ends(self, status: int, reporter: pytest.TerminalReporter | None) -> None:
        """Write the page, after all fixtures have ended, because only then are logs complete."""
        session = self._session
        if session.blame.refused:
            status = blame.INFRASTRUCTURE_STATUS
        known = self._known(status, session.tally.proof())
        told = session.records.page_ends(reporter, session.started, known)
        if told and reporter is not None and session.config.option.verbose >= -1:
            reporter.write_line(told)

    def last_words(self, status: int, reporter: pytest.TerminalReporter | None) -> None:
        """Print what was proven, after all of pytest's output; with -q too, but not with -qq."""
        proof = self._session.tally.proof()
        if reporter is None or status not in _TOLD or not self._asked(proof):
            return
        if self._session.records.lost:
            reporter.write_line(self._session.records.lost, red=True)
        if status == blame.INFRASTRUCTURE_STATUS and not proof.judged:
            why = NOTHING_JUDGED if proof.scenarios else NO_SCENARIO
            reporter.write_line(f"exit status {status}: {why}", red=True)
        if self._session.config.option.verbose >= -1:
            reporter.write_line(str(proof))

    def _asked(self, proof: Proof) -> bool:
        """Whether the run was asked to judge a Xen."""
        on_host = bool(self._session.hosts.pool and proof.scenarios)
        return on_host or asked_for_xen(self._session.config)
