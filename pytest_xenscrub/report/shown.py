# SPDX-License-Identifier: MIT
"""What a report shows of an error: the test's own lines, and the error's text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest._code.code import ReprFileLocation

from pytest_xenscrub.errors import HostUnusableError

if TYPE_CHECKING:
    from pytest_xenscrub.errors import XenScrubError

_PACKAGE = Path(__file__).parents[1]
_SUITE = _PACKAGE / "suite"
_FULL_TRACEBACKS = ("long", "native", "short", "line")


class Shown:
    """Shows the errors of a run.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._told: XenScrubError | None = None

    def show(
        self,
        error: XenScrubError,
        excinfo: pytest.ExceptionInfo[BaseException],
        report: pytest.TestReport,
    ) -> None:
        """Show the test's own lines and the error's text, without the frames of this package.

        The error of a session fixture fails every later test, too: it is shown in full once, and in
        one line after that.
        """
        if self._config.option.tbstyle in _FULL_TRACEBACKS or self._config.option.fulltrace:
            return
        told, self._told = self._told, error
        what = error.what
        if error is told:
            what = f"{what} (told above)"
            again = HostUnusableError(what).with_traceback(error.__traceback__)
            shown = pytest.ExceptionInfo.from_exception(again).getrepr(style="value")
        else:
            root = self._config.rootpath
            own = excinfo.traceback.filter(lambda entry: _is_a_tests(Path(entry.path), root))
            if own:
                excinfo.traceback = own
            shown = excinfo.getrepr(style="short" if own else "value")
        # Line of pytest's short summary.
        path, line, _ = report.location
        shown.reprcrash = ReprFileLocation(path, line or 0, what)
        report.longrepr = shown


def _is_a_tests(path: Path, root: Path) -> bool:
    """Whether a file belongs to tests: the user's project's, or the suite's."""
    if path.is_relative_to(_SUITE):
        return True
    ours = path.is_relative_to(_PACKAGE) or "site-packages" in path.parts
    return path.is_relative_to(root) and not ours
