# SPDX-License-Identifier: MIT
"""Files of results that nobody should have: each is told as what it is, or refused."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.command.main import main
from pytest_xenscrub.command.report import FORMATS
from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.results import ResultsFile, read_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

REAL = Path(__file__).parent / "results" / "clean_and_leak.jsonl"
"""Lines of real runs, one of each sort."""
ODD: tuple[object, ...] = (
    None, True, -1, 0, 1.5, 1 << 80, 10**400, float("nan"), float("inf"), "", "x", "\ud800", "\0",
    "$\\frac{", "_", "<script>", [], [[]], [[1]], [["x", 1]], {}, {"x": []}, {"x": [[None, 1]]},
)  # fmt: skip
"""What may stand in place of any value."""
LINES = [json.loads(line) for line in REAL.read_text().splitlines()]


def paths_in(value: Any) -> list[tuple[Any, ...]]:
    """The way to each value within, those deep in lists apart."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        for key, each in value.items():
            found += [(key,), *((key, *path) for path in paths_in(each))]
    elif isinstance(value, list) and value:
        found += [(0, *path) for path in paths_in(value[0])] or [(0,)]
    return found


def spoilt(line: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    """The line with another value there; with none at all where that is Ellipsis."""
    changed = copy.deepcopy(line)
    inside: Any = changed
    for key in path[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return changed


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def text_of(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is shown of it; it has a page, too."""
    assert main(["report", f"--html={path}.html", str(path)]) == 0
    assert main(["report", str(path)]) == 0
    return capsys.readouterr().out


def of_each_sort() -> dict[str, int]:
    """The numbers of the last line of each sort."""
    sorts = ("run", "tested", "map", "fit")
    return {
        next((sort for sort in sorts if line.get(sort) is not None), "row"): number
        for number, line in enumerate(LINES)
    }


@pytest.mark.parametrize("number", of_each_sort().values(), ids=of_each_sort())
def test_any_value_may_be_odd(number: int, tmp_path: Path) -> None:
    """It is refused, or every format shows it."""
    chance = random.Random(number)  # noqa: S311 - no secret
    path = tmp_path / "odd.jsonl"
    shown = 0
    for way in paths_in(LINES[number]):
        for value in (..., chance.choice(ODD)):
            lines = [*LINES[:number], spoilt(LINES[number], way, value), *LINES[number + 1 :]]
            write(path, lines)
            with contextlib.suppress(ConfigurationError):
                runs = read_runs(path)
                for render in FORMATS.values():
                    render(runs)
                shown += 1
    assert shown


@pytest.mark.parametrize("value", ["RESIDUE", "leak", "", 0, False, [], {}])
def test_a_verdict_that_nobody_knows_is_refused(
    value: object, tmp_path: Path, a_row: MakeRow
) -> None:
    """In a table it would be clean."""
    ResultsFile(tmp_path / "r").append(a_row())
    (line,) = [json.loads(each) for each in (tmp_path / "r").read_text().splitlines()]
    write(tmp_path / "r", [{**line, "verdict": value}])
    with pytest.raises(ConfigurationError, match=r"r:1: no result"):
        read_runs(tmp_path / "r")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", f"1{'0' * 400}"])
@pytest.mark.parametrize("key", ["destroy", "starved", "memory_bytes"])
def test_what_is_no_number_is_refused(key: str, value: str, tmp_path: Path, a_row: MakeRow) -> None:
    """No limit is exceeded by it."""
    ResultsFile(tmp_path / "r").append(a_row(starved=0.5))
    text = (tmp_path / "r").read_text()
    known = json.dumps({key: json.loads(text)[key]})[1:-1]
    assert known in text
    (tmp_path / "r").write_text(text.replace(known, f'"{key}": {value}'))
    with pytest.raises(ConfigurationError, match="no result"):
        read_runs(tmp_path / "r")


def test_keys_of_later_versions_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In each sort of line, and in what is within."""
    lines = [{**line, "later": [1]} for line in LINES]
    for line in lines:
        for inside in ("tested", "run", "map"):
            if inside in line:
                line[inside] = {**line[inside], "later": {"x": 1}}
    write(tmp_path / "later.jsonl", lines)
    write(tmp_path / "now.jsonl", LINES)
    now = text_of(tmp_path / "now.jsonl", capsys)
    assert text_of(tmp_path / "later.jsonl", capsys) == now
    assert now.startswith(("clean: ", "RESIDUE: "))


def test_half_a_line_is_told_and_spoils_no_other(tmp_path: Path, a_row: MakeRow) -> None:
    """The machine has ended while it was written; the next run begins a line of its own."""
    path = tmp_path / "r"
    ResultsFile(path).append(a_row(1.0))
    with path.open("ab") as file:
        file.write(b'{"at": 17')
    with pytest.raises(ConfigurationError, match="r:2: no result") as caught:
        read_runs(path)
    assert "cut off in the middle of a line, remove that line" in str(caught.value)
    ResultsFile(path).append(a_row(2.0, number=1))
    lines = path.read_text().splitlines()
    assert lines[1] == '{"at": 17'
    path.write_text("\n".join([lines[0], lines[2]]))
    (run,) = read_runs(path)
    assert [row.destroy for row in run.rows.values()] == [1.0, 2.0]


def test_a_leak_of_one_xen_is_not_hidden_by_a_clean_run_of_another(
    tmp_path: Path, a_row: MakeRow, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor by one on another host, or with guests of another type: the tests have the same ids."""
    runs: list[tuple[dict[str, Any], int]] = [
        ({"variant": "mine"}, 1), ({"host": "lab7"}, 1), ({"guest_type": "pvh"}, 1),
        ({"toolstack": "libvirt"}, 1), ({"debug": True}, 1), ({}, 0), ({}, 0),
    ]  # fmt: skip
    known = {"judged": 1, "scenarios": 1, "frames_read": 9, "coverage": 1.0, "not_judged": {}}
    for number, (changed, residue) in enumerate(runs):
        file = ResultsFile(tmp_path / f"{number}.jsonl")
        started = f"2026-11-0{number + 1}"
        verdict = "residue" if residue else "clean"
        file.append(a_row(1.0, started=started, verdict=verdict, **changed))
        run = {**known, "started": started, "status": residue, "residue": residue}
        file.append_run("run", run)
    assert main(["report", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("RESIDUE: judged") == 5
    assert said.count("clean: judged") == 1, "of two runs of the same the last one counts"
    assert main(["report", f"--html={tmp_path / 'page.html'}", str(tmp_path)]) == 0
    title = (tmp_path / "page.html").read_text().partition("</title>")[0]
    assert "<title>RESIDUE: " in title
