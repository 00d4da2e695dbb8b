# SPDX-License-Identifier: MIT
"""Pages of a guest mapped in dom0, asked for from here."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.dom0 import program
from pytest_xenscrub.dom0.mapping import ForeignMapping
from pytest_xenscrub.errors import InfrastructureError, XenHungError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_xenscrub.host.protocol import Host

ANSWERS = """
import sys
for answer in {answers}:
    asked = sys.stdin.readline()
    print(answer.format(*asked.split()), flush=True)
"""


class Dom0WithMapper:
    """Answers as the page mapper does, in place of it."""

    name = "lab7"
    outside = None

    def serial_tail(self) -> str:
        return "(XEN) last words"

    def __init__(self, *answers: str) -> None:
        self._program = ANSWERS.format(answers=answers)

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", self._program], stdin=pipe, stdout=pipe, stderr=pipe
        )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ForeignMapping]]:
    mappings: list[ForeignMapping] = []
    # The program itself would be read as the first question.
    monkeypatch.setattr(
        "pytest_xenscrub.dom0.mapping.start_program", lambda host, module: host.popen([module])
    )
    yield mappings
    for mapping in mappings:
        mapping.close()


def mapped(started: list[ForeignMapping], *answers: str) -> ForeignMapping:
    started.append(ForeignMapping(cast("Host", Dom0WithMapper(*answers))))
    return started[-1]


def test_frames_are_mapped_and_read(started: list[ForeignMapping]) -> None:
    mapping = mapped(started, "ok", "ok 5e884898", "ok", "ok")
    mapping.map(7, BitMap64([100, 1 << 32]))
    assert mapping.hash() == "5e884898"
    mapping.copy()
    mapping.release()


def test_what_dom0_refuses_is_said_with_what_was_asked(started: list[ForeignMapping]) -> None:
    mapping = mapped(started, "error OSError: {0} {1} refused")
    with pytest.raises(InfrastructureError, match="map 7 refused") as caught:
        mapping.map(7, BitMap64([100]))
    assert caught.value.tried == "map 7 100"


def test_program_that_ended_is_an_error_and_not_a_wait(started: list[ForeignMapping]) -> None:
    mapping = mapped(started)
    with pytest.raises(InfrastructureError, match="mapping pages of a guest"):
        mapping.hash()


def test_a_dom0_that_says_nothing_is_not_waited_for(
    started: list[ForeignMapping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_xenscrub.dom0.mapping.HANG_SECONDS", 0.2)
    mapping = mapped(started)
    mapping.close()
    mapping._process = subprocess.Popen(
        ["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with pytest.raises(XenHungError, match="lab7: pages of a guest in dom0: hash: not done"):
        mapping.hash()
    mapping._process.kill()


def broken(*_: object) -> NoReturn:
    raise BrokenPipeError


def test_a_program_that_has_ended_says_why_in_place_of_its_broken_pipe(
    started: list[ForeignMapping],
) -> None:
    mapping = mapped(started)
    mapping._process.wait(10)
    with pytest.raises(InfrastructureError, match="mapping pages of a guest"):
        mapping.map(7, BitMap64(range(100_000)))
    mapping.close()


def test_a_program_that_ends_at_once_is_no_error_where_it_is_started() -> None:
    process: Any = SimpleNamespace(stdin=SimpleNamespace(write=broken))
    host: Any = SimpleNamespace(popen=lambda _: process)
    assert program.start_program(host, "page_mapper") is process


def test_pipes_of_a_program_that_has_ended_are_closed_all_the_same() -> None:
    ended: list[str] = []

    def close() -> NoReturn:
        ended.append("closed")
        raise BrokenPipeError

    pipe = SimpleNamespace(close=close)
    mapping = ForeignMapping.__new__(ForeignMapping)
    process: Any = SimpleNamespace(
        stdin=pipe, stdout=pipe, stderr=pipe, wait=lambda _: ended.append("reaped")
    )
    mapping._process = process
    mapping.close()
    assert ended == ["closed"] * 3 + ["reaped"]
