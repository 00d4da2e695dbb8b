# SPDX-License-Identifier: MIT
"""The page of results in a real browser, without a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import unquote

import matplotlib.image as plt
import pytest

from pytest_xenscrub.command.main import main
from pytest_xenscrub.report.logs import file_name
from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.report.results import ResultsFile
from pytest_xenscrub.scrub.row import Row, Setting

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SORTS = """
<script>
const button = [...document.querySelectorAll("#figures th button")]
  .find((each) => each.textContent === "destroy");
button.click();
const column = button.closest("th").cellIndex;
document.title = [...document.querySelectorAll("#figures table")[0].tBodies[0].rows]
  .map((row) => row.cells[column].textContent).join(" ");
</script>
"""

ASKS = """
<script>
const tables = [...document.querySelectorAll("table")];
const heads = tables.flatMap((table) => [...table.tHead.rows[0].cells]);
const closed = [...document.querySelectorAll("details:not([open])")].length;
const reached = [...document.querySelectorAll("th button, summary, a, .wide")]
  .filter((each) => (each.focus(), document.activeElement !== each && each.checkVisibility()));
dispatchEvent(new Event("beforeprint"));
document.title = JSON.stringify({
  bare: heads.filter((head) => !head.querySelector("button")).length,
  unreachable: reached.length,
  closed,
  still: document.querySelectorAll("details:not([open])").length,
  links: [...document.querySelectorAll("a")].map((each) => each.getAttribute("href")),
  ids: [...document.querySelectorAll("[id]")].map((each) => each.id),
  wider: document.documentElement.scrollWidth > innerWidth,
});
</script>
"""

FITS = """
<script>
const lines = [...document.querySelectorAll("#history figure")];
document.title = JSON.stringify({
  lines: lines.length,
  beside: lines.filter((each) => each.offsetTop === lines[0].offsetTop).length,
  beyond: lines.filter((each) => each.getBoundingClientRect().right > innerWidth).length,
  cut: lines.filter((each) => each.scrollWidth > each.clientWidth).length,
  wider: document.documentElement.scrollWidth > innerWidth,
});
</script>
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = ResultsFile(tmp_path / "results")
    for number, seconds in enumerate((3.0, 1.0, 20.0)):
        setting = Setting(
            f"a.py::test_{number}[<script>alert(1)</script>]", "emulated", "emulated (TCG)", "xl",
            "stock", "4.17.5", debug=False, build_id="c0ffee", started="now",
        )  # fmt: skip
        curve = [[0.0, 1.0], [seconds, 0.0]]
        file.append(
            Row(setting, 0, "destroy", 1 << 30, 2, destroy=seconds, exposure_curve=curve,
                verdict="clean")
        )  # fmt: skip
        file.append_test(Outcome(setting.test, "failed", "xen", why="<b>console</b>"), "now")
    logs = tmp_path / "logs" / file_name("a.py::test_0[<script>alert(1)</script>]")
    logs.mkdir(parents=True)
    (logs / "victim:1 %.console").write_text("<script>alert(1)</script>")
    command = ["report", f"--html={tmp_path / 'page.html'}", f"--logs={tmp_path / 'logs'}"]
    assert main([*command, str(tmp_path / "results")]) == 0
    return tmp_path / "page.html"


def browse(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
        *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def test_the_page_opens_without_an_error_and_sorts(page: Path) -> None:
    page.write_text(page.read_text().replace("</body>", f"{SORTS}</body>"))
    shown = browse(page, "--dump-dom")
    assert "CONSOLE" not in shown.stderr, shown.stderr
    title = re.search(r"<title>(.*)</title>", shown.stdout)
    assert title
    assert title[1] == "1.00 3.00 20.00"
    assert "<b>console</b>" not in shown.stdout


def test_it_is_read_by_keyboard_and_on_paper_and_its_links_lead_somewhere(page: Path) -> None:
    """Every heading sorts by a key, nothing is folded on paper, logs that are linked are there."""
    page.write_text(page.read_text().replace("</body>", f"{ASKS}</body>"))
    shown = browse(page, "--dump-dom", "--window-size=420,1600")
    title = re.search(r"<title>(.*)</title>", shown.stdout)
    assert title
    told = json.loads(html.unescape(title[1]))
    assert (told["bare"], told["unreachable"]) == (0, 0)
    assert told["closed"] > 0
    assert told["still"] == 0
    assert not told["wider"], "a narrow window scrolls tables, and not the page"
    logs = [link for link in told["links"] if not link.startswith("#")]
    assert len(logs) == 1
    assert (page.parent / unquote(logs[0])).is_file()
    assert all(link[1:] in told["ids"] for link in told["links"] if link.startswith("#"))


@pytest.mark.parametrize(("width", "beside"), [(500, 1), (1000, 2), (1400, 3)])
def test_history_fits_the_window(tmp_path: Path, width: int, beside: int) -> None:
    file = ResultsFile(tmp_path / "results")
    name = f"a.py::test_{'long_' * 30}name"
    for night in range(9):
        setting = Setting(
            name, "emulated", "emulated (TCG)", "xl", "stock", "4.17.5", debug=False,
            build_id=f"{night}" * 12, started=f"2026-11-{night + 10}",
        )  # fmt: skip
        file.append(
            Row(setting, 0, "destroy", 1 << 30, 2, verdict="clean", destroy=1.0 + night,
                free=2.0 + night, exposure=3.0 + night)
        )  # fmt: skip
    page = tmp_path / "page.html"
    assert main(["report", f"--html={page}", str(tmp_path / "results")]) == 0
    page.write_text(page.read_text().replace("</body>", f"{FITS}</body>"))
    shown = browse(page, "--dump-dom", f"--window-size={width},1200")
    title = re.search(r"<title>(.*)</title>", shown.stdout)
    assert title
    told = json.loads(html.unescape(title[1]))
    assert told == {"lines": 3, "beside": beside, "beyond": 0, "cut": 0, "wider": False}


@pytest.mark.parametrize(("scheme", "is_light"), [("1", True), ("0", False)])
@pytest.mark.parametrize("width", [420, 1400])
def test_a_picture_of_it_can_be_taken(
    page: Path, width: int, scheme: str, *, is_light: bool
) -> None:
    """In light and in dark; where there is no text the paper shows."""
    picture = page.with_name("page.png")
    browse(
        page, f"--screenshot={picture}", f"--window-size={width},1600", "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={scheme}",
    )  # fmt: skip
    pixels = plt.imread(picture)
    assert pixels.shape[1] == width
    assert bool(pixels[2, 2, :3].mean() > 0.5) is is_light


def test_it_can_be_printed(page: Path) -> None:
    paper = page.with_name("page.pdf")
    browse(page, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
