# SPDX-License-Identifier: MIT
"""Shows progress during a run: a line that is overwritten, and lines that stay."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pytest

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_COLUMNS_LEFT = 10
"""Columns that stay empty, because a line that wraps cannot be erased."""


class Live:
    """Prints beside pytest's own output.

    A worker of pytest-xdist prints nothing: its lines that stay travel with its next report.

    Args:
        config: pytest's; with -q, lines that only inform are left out.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._reporter = config.pluginmanager.getplugin("terminalreporter")
        self._quiet = config.getoption("verbose", 0) < 0
        self._remote = hasattr(config, "workerinput")
        self._unsaid: list[str] = []

    def unsaid(self) -> list[str]:
        """Lines that stay but could not be printed here, each once."""
        lines, self._unsaid = self._unsaid, []
        return lines

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._quiet:
            return
        if self._remote:
            self._unsaid.append(line)
            return
        if self._reporter is None:
            return
        with self._uncaptured():
            self._erase()
            # pytest may have printed a test's name, or dots, without a line end.
            self._reporter.ensure_newline()
            self._reporter.write_line(f"  xen: {line}")

    def update(self, line: str) -> None:
        """Show a line until the next one; only on a terminal."""
        if self._reporter is None or self._quiet or not self._reporter.isatty:
            return
        width = shutil.get_terminal_size().columns - self._reporter._tw.width_of_current_line
        shown = line[: max(0, width - _COLUMNS_LEFT)]
        with self._uncaptured():
            self._reporter.write(f"{_SAVE} {shown}{_ERASE}{_RESTORE}", flush=True)

    def clear(self) -> None:
        """Erase the line."""
        if self._reporter is not None and self._reporter.isatty and not self._quiet:
            with self._uncaptured():
                self._erase()

    def _erase(self) -> None:
        if self._reporter is not None and self._reporter.isatty:
            self._reporter.write(_ERASE, flush=True)

    def _uncaptured(self) -> AbstractContextManager[None]:
        if self._capture is None:
            return contextlib.nullcontext()
        return cast("AbstractContextManager[None]", self._capture.global_and_fixture_disabled())
