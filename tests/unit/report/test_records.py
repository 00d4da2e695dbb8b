# SPDX-License-Identifier: MIT
"""What a run's records do where they cannot be written."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

from pytest_xenscrub.errors import HostLostError
from pytest_xenscrub.report import logs, records

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_charts_that_cannot_be_written_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device", "charts/exposure.svg")

    monkeypatch.setitem(sys.modules, "pytest_xenscrub.report.plots", SimpleNamespace(draw=refuse))
    fake: Any = SimpleNamespace(_options=SimpleNamespace(plots="charts"), _rows={}, _maps={})
    reporter: Any = MagicMock()
    records.Records._draw(fake, [MagicMock()], reporter)
    reporter.write_line.assert_called_once_with(
        "charts cannot be written: No space left on device: charts/exposure.svg"
    )


def test_a_host_that_is_gone_has_no_log_of_xens(tmp_path: Path) -> None:
    dom0: Any = MagicMock()
    dom0.host.serial_tail.return_value = "(XEN) last words"
    dom0.xen_log.side_effect = HostLostError("lab7 does not answer")
    logs.Logs(tmp_path).failed("test_it", dom0, answers=True)
    assert [path.name for path in (tmp_path / "test_it").iterdir()] == ["serial.log"]
