# SPDX-License-Identifier: MIT
"""The JSON Schema of results says what is written, and what is read."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_xenscrub.report.frame_map import FrameMap
from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import SCHEMA, ResultsFile, read_runs
from pytest_xenscrub.scrub.fit import Fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

KEPT = Path(__file__).parent / "results"
"""Lines that runs on a real Xen have written; of one file without what came with number 1."""
SHAPE = json.loads(
    resources.files("pytest_xenscrub.report").joinpath("results.schema.json").read_text("utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SHAPE)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SHAPE)
    assert SHAPE["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.jsonl")), ids=lambda path: path.stem)
def test_lines_of_real_runs_are_as_it_says_and_can_be_read(path: Path) -> None:
    lines = lines_of(path)
    for line in lines:
        VALIDATOR.validate(line)
    assert sum(len(run.rows) for run in read_runs(path)) > 0


def test_the_kept_lines_are_of_all_sorts_and_of_all_numbers() -> None:
    lines = [line for path in KEPT.glob("*.jsonl") for line in lines_of(path)]
    assert {line.get("schema", 0) for line in lines} == set(range(SCHEMA + 1))
    assert {"run", "tested", "map"} <= {key for line in lines for key in line}
    assert {line.get("verdict") for line in lines} >= {"clean", "residue"}


def test_all_that_is_written_is_as_it_says(tmp_path: Path, a_row: MakeRow) -> None:
    import numpy as np  # noqa: PLC0415 - of a map's pixels

    file = ResultsFile(tmp_path / "r")
    row = a_row(
        1.0, exposure_curve=[[0.0, 1.0]], series={"state": [(0.0, "dying")], "n": [(0.0, 4)]},
        profile={"symbols": ""}, residue_frames=4, verdict="residue",
    )  # fmt: skip
    file.append(row)
    file.append_fit(row.setting, Fit("destroy", 0.25, 0.1, 0.99, 4))
    file.append_test(Outcome("a::b", "failed", "xen", residue=True, why="w", seconds=1.0), "now")
    pixels = np.zeros((1, 256), np.uint8)
    file.append_map("stock", FrameMap("a test", "clean", pixels, 1, (0, 0, 0, 0)), "now")
    proof: dict[str, object] = {
        "judged": 0,
        "scenarios": 1,
        "frames_read": 0,
        "coverage": None,
        "not_judged": {},
    }
    file.append_run("tag", {"started": "now", "status": 75, "faults": ["worse: x"], **proof})
    lines = lines_of(tmp_path / "r")
    for line in lines:
        VALIDATOR.validate(line)
    # Nothing is written that the schema does not name.
    parts = SHAPE["$defs"]
    for line, sort in zip(lines, ("measurement", "fit", "test", "map", "run"), strict=True):
        known = {**SHAPE["properties"], **parts[sort]["properties"]}
        assert line.keys() <= known.keys()
        for key, value in line.items():
            if isinstance(value, dict) and "properties" in known[key]:
                assert value.keys() <= known[key]["properties"].keys()
    assert parts["measurement"]["properties"].keys() == row.as_dict().keys()


@pytest.mark.parametrize(
    "changed",
    [
        {"destroy": "1.25"},
        {"verdict": "maybe"},
        {"memory_bytes": -1},
        {"guest_type": "vm"},
        {"test": None},
        {"schema": SCHEMA + 1},
        {"id": 3},
        {"series": {"free_bytes": [[0.0]]}},
        {"fit": None},
    ],
)
def test_what_is_no_result_is_none(
    tmp_path: Path, a_row: MakeRow, changed: dict[str, object]
) -> None:
    ResultsFile(tmp_path / "r").append(a_row(1.0))
    (line,) = lines_of(tmp_path / "r")
    VALIDATOR.validate(line)
    assert not VALIDATOR.is_valid({**line, **changed})
