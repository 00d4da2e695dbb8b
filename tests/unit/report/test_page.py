# SPDX-License-Identifier: MIT
"""The page of results: whole by itself, in a reader's order, with no markup of others."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import RunResults

pytest.importorskip("jinja2")
from pytest_xenscrub.report.page import to_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.scrub.row import Row

    MakeRow = Callable[..., Row]

KNOWN = {
    "status": 1, "judged": 2, "scenarios": 2, "frames_read": 512, "coverage": 0.999, "residue": 1,
    "not_judged": {},
}  # fmt: skip
EVIL = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would see: tags that are closed in order, links, scripts, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run(*rows: Row, started: str = "2026-11-27", **tests: Outcome) -> RunResults:
    return RunResults(started, {str(n): row for n, row in enumerate(rows)}, tests, KNOWN)


def test_it_is_whole_by_itself(a_row: MakeRow) -> None:
    curve = [[0.0, 1.0], [1.0, 0.5], [2.0, 0.0]]
    rows = [a_row(1.0, exposure_curve=curve), a_row(2.0, variant="sync", exposure_curve=curve)]
    page = Page(to_html([run(*rows)]))
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert "figure" in page.tags
    assert "Compared with stock" in page.text


def test_nothing_that_is_told_is_markup(a_row: MakeRow) -> None:
    row = a_row(test=f"x.py::test_x[{EVIL}]", host=EVIL, build_id=EVIL, command_line=EVIL)
    end = Outcome(EVIL, "failed", EVIL, residue=True, why=f"the console said {EVIL}")
    text = to_html([run(row, started=EVIL, evil=end), run(a_row(host=EVIL))])
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert f"the console said {EVIL}" in page.text


def test_leaks_come_first(a_row: MakeRow) -> None:
    broke = Outcome("a::broke", "error", "infrastructure", why="no network")
    leaked = Outcome("a::leaked", "failed", "xen", residue=True, why="RESIDUE: 4 frames")
    skipped = Outcome("a::skipped", "skipped", why="no NUMA nodes")
    text = to_html([run(a_row(), a=broke, b=skipped, c=leaked)])
    order = ["RESIDUE: judged 2", "a::leaked", "RESIDUE: 4 frames", "a::broke", "no NUMA nodes"]
    places = [text.index(word, text.index("<body>")) for word in order]
    assert places == sorted(places)
    assert "pytest &#39;a::leaked&#39;" in text


def test_history_of_several_runs(a_row: MakeRow) -> None:
    runs = [run(a_row(1.0 + n / 10), started=f"2026-11-{n + 10}") for n in range(5)]
    page = Page(to_html(runs))
    assert "polyline" in page.tags
    assert page.tags.count("circle") == 5
    assert "1.40" in page.text
    assert "History" not in Page(to_html(runs[:1])).text


def test_a_run_without_rows() -> None:
    broke = Outcome("a::broke", "error", "infrastructure", why="no network")
    assert "no network" in Page(to_html([run(broke=broke)])).text


def test_thirty_nights_of_forty_rows_are_less_than_a_megabyte(a_row: MakeRow) -> None:
    runs = [
        run(*(a_row(1.0 + n / 100, test=f"x.py::test_{m}") for m in range(40)), started=f"n{n:02}")
        for n in range(30)
    ]
    assert len(to_html(runs)) < 1 << 20
