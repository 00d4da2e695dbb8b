# SPDX-License-Identifier: MIT
"""The results' file: JSON lines that are there whatever happens next."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.report.results import SCHEMA, ResultsFile, as_properties, read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

APPEND = """
import sys
from pathlib import Path
from pytest_xenscrub.report.results import ResultsFile, as_properties
from pytest_xenscrub.scrub.row import Row, Setting
name, path = sys.argv[1:]
setting = Setting(name, "h" * 9000, "real", "xl", "stock", "4.17", False, "c0ffee")
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    ResultsFile(Path(path)).append(Row(setting, number, "destroy", 1 << 30, 2))
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def latest(path: Path) -> dict[str, dict[str, Any]]:
    """As a reader does it: of several lines with one id the last counts."""
    return {line["id"]: line for line in lines_of(path)}


def test_each_change_is_in_the_file_at_once_and_the_last_one_counts(
    tmp_path: Path, a_row: MakeRow
) -> None:
    results = ResultsFile(tmp_path / "results.jsonl")
    row, other = a_row(1.0, verdict=None), a_row(9.0, number=1)
    results.append(row)
    assert [line["verdict"] for line in lines_of(tmp_path / "results.jsonl")] == [None]
    results.append(other)
    row.verdict = "residue"
    results.append(row)
    found = latest(tmp_path / "results.jsonl")
    assert len(lines_of(tmp_path / "results.jsonl")) == 3
    assert [found[each.id]["verdict"] for each in (row, other)] == ["residue", "clean"]


def test_a_line_has_all_that_is_known(tmp_path: Path, a_row: MakeRow) -> None:
    ResultsFile(tmp_path / "r").append(a_row(1.5, gone=2.5))
    (line,) = lines_of(tmp_path / "r")
    assert line["id"] == "tests/test_x.py::test_destroyed_guest#0"
    assert (line["host"], line["xen"], line["debug"]) == ("emulated", "4.17.5", False)
    assert (line["destroy"], line["gone"], line["free"]) == (1.5, 2.5, None)
    assert line["at"] > 1.7e9


def test_series_are_in_the_file_and_in_no_property(tmp_path: Path, a_row: MakeRow) -> None:
    row = a_row(series={"state": [(0.0, "alive"), (1.5, "")]})
    ResultsFile(tmp_path / "r").append(row)
    assert lines_of(tmp_path / "r")[0]["series"] == {"state": [[0.0, "alive"], [1.5, ""]]}
    assert "xen[0].series" not in dict(as_properties([row]))


def test_a_file_that_exists_is_appended_to(tmp_path: Path, a_row: MakeRow) -> None:
    path = tmp_path / "r"
    path.write_text('{"id": "of an earlier run"}\n')
    ResultsFile(path).check()
    ResultsFile(path).append(a_row())
    earlier, ours = lines_of(path)
    assert earlier["id"] == "of an earlier run"
    assert ours["id"].endswith("#0")


def test_a_file_that_cannot_be_written_is_found_out_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file or directory"):
        ResultsFile(tmp_path / "no" / "folder").check()


def test_a_disk_that_gets_full_leaves_whole_lines(a_row: MakeRow, tmp_path: Path) -> None:
    """As much as fits is written, and taken back: the kernel's limit for a file does the same."""
    path = tmp_path / "results.jsonl"
    ResultsFile(path).append(a_row())
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, before[1]))
    try:
        with pytest.raises(InfrastructureError, match="a result could not be written: File too"):
            ResultsFile(path).append(a_row())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == whole


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, name, str(path)], stdin=pipe, stdout=pipe, text=True
        )
        for name in ("first", "second")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=30)
        assert writer.returncode == 0
    assert sorted(line["id"] for line in lines_of(path)) == sorted(
        f"{name}#{number}" for name in ("first", "second") for number in range(60)
    )


def test_lines_have_a_schema_and_older_ones_without_are_read(
    tmp_path: Path, a_row: MakeRow
) -> None:
    path = tmp_path / "r"
    ResultsFile(path).append(a_row(1.5))
    (line,) = lines_of(path)
    assert line.pop("schema") == SCHEMA
    path.write_text(json.dumps(line))
    assert [row.destroy for row in read_results(path)] == [1.5]


def test_a_later_schema_is_refused(tmp_path: Path, a_row: MakeRow) -> None:
    path = tmp_path / "r"
    ResultsFile(path).append(a_row(1.5))
    path.write_text(json.dumps({**lines_of(path)[0], "schema": SCHEMA + 1}))
    with pytest.raises(ConfigurationError, match="a later version of pytest-xenscrub"):
        read_results(path)
