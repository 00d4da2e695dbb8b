# SPDX-License-Identifier: MIT
"""What the user asked for of a run's records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.scrub.row import Row


@dataclass(frozen=True)
class ProfileChoice:
    """`--xen-profile`, with or without a folder for flame graphs."""

    folder: Path | None


class Wanted(Protocol):
    """The options for records, among the options of the run."""

    @property
    def plots(self) -> Path | None:
        """Folder for charts."""

    @property
    def results(self) -> Path | None:
        """File of results."""

    @property
    def html(self) -> Path | None:
        """File for a page of the run."""

    @property
    def logs(self) -> Path | None:
        """Folder for logs."""

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
