# SPDX-License-Identifier: MIT
"""The page of results in a real browser, without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.command.main import main
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
    assert main(["report", f"--html={tmp_path / 'page.html'}", str(tmp_path / "results")]) == 0
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


@pytest.mark.parametrize("width", [420, 1400])
def test_a_picture_of_it_can_be_taken(page: Path, width: int) -> None:
    picture = page.with_name("page.png")
    browse(page, f"--screenshot={picture}", f"--window-size={width},1600")
    assert picture.read_bytes().startswith(b"\x89PNG")
