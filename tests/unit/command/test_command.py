# SPDX-License-Identifier: MIT
"""The command beside pytest: what it prints, and how it ends."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_xenscrub.command import bisect, prepare, xen_options
from pytest_xenscrub.command.main import main
from pytest_xenscrub.command.manual import FAILED, INTERRUPTED, NOBODY_READS, USAGE_ERROR
from pytest_xenscrub.command.report import FORMATS
from pytest_xenscrub.errors import DeadlineExceededError
from pytest_xenscrub.report.results import ResultsFile
from pytest_xenscrub.scrub.row import Row, Setting

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline

SETTING = Setting(
    "tests/test_x.py::test_destroyed_guest", "emulated", "emulated (TCG)", "xl", "stock",
    "4.17.5", debug=False, build_id="c0ffee",
    started="today",
)  # fmt: skip


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pytest-xenscrub"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    file = ResultsFile(path)
    file.append(Row(SETTING, 0, "destroy", 1 << 30, 2, destroy=1.25, verdict="clean"))
    proof = {"scenarios": 1, "judged": 1, "frames_read": 9, "coverage": 1.0, "not_judged": {}}
    file.append_run("run", {"status": 0, "started": "today", **proof})
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_results_in_each_format(
    name: str, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", f"--format={name}", str(written)]) == 0
    assert "destroyed_guest" in capsys.readouterr().out.replace("\\", "")


def test_a_file_that_is_cut_short_is_no_clean_run(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written.write_text("".join(written.read_text().splitlines(keepends=True)[:1]))
    assert main(["report", str(written)]) == 0
    assert capsys.readouterr().out.startswith("UNFINISHED: ")


def test_into_a_file(written: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    assert main(["report", "--format=markdown", f"--output={output}", str(written)]) == 0
    assert output.read_text().startswith("**clean: ")


def test_all_results_of_a_folder(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = written.with_name("other.jsonl")
    other.write_text(written.read_text().replace("destroyed_guest", "another_guest"))
    written.with_name("notes.txt").write_text("no result")
    assert main(["report", str(written.parent)]) == 0
    out = capsys.readouterr().out
    assert "destroyed_guest" in out
    assert "another_guest" in out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], USAGE_ERROR, "COMMAND"),
        (["report"], USAGE_ERROR, "RESULTS"),
        (["report", "--format=pdf", "x"], USAGE_ERROR, "invalid choice"),
        (["report", "not-there"], USAGE_ERROR, "cannot be read: No such file"),
        (["report", "/proc/self/task"], USAGE_ERROR, "there is no result in it"),
        (["report", "/dev/null"], USAGE_ERROR, "there is no result in it"),
        (["report", "{written}", "--output={here}"], FAILED, "cannot be written"),
        (["clean", "sofa"], USAGE_ERROR, "'sofa' is not in the cache"),
        (["prepare", "--xen-variant=nope"], USAGE_ERROR, "neither a variant's name nor a file"),
        (["prepare", "--xen-suite=woody"], USAGE_ERROR, "'woody' is not one of"),
        (["prepare", "--xen-config=DEBUG=y"], USAGE_ERROR, "--xen-config is for a Xen that is"),
        (["shell", "--xen-host-memory=1T1"], USAGE_ERROR, "1T1"),
    ],
)
@pytest.mark.usefixtures("own_cache")
def test_one_message(
    arguments: list[str], status: int, said: str, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(here=written.parent, written=written) for word in arguments]
    assert main(words) == status
    error = capsys.readouterr().err
    assert said in error
    told = error[error.index("error:") :] if "error:" in error else error
    assert len(told.splitlines()) <= 8


def test_options_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:  # pytest's own plugin would read it, too
        patch.setenv("PYTEST_XEN_VARIANT", "stock nope")
        assert main(["prepare"]) == USAGE_ERROR
    error = capsys.readouterr().err
    assert "environment variable PYTEST_XEN_VARIANT: --xen-variant=nope: neither" in error


def test_the_guests_kernel_is_prepared(
    own_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_xenscrub.guest.build.build_kernel", lambda: own_cache / "kernel")
    assert main(["prepare", "--no-image"]) == 0
    assert capsys.readouterr().out == f"the guests' kernel: {own_cache / 'kernel'}\n"


def test_the_cache_is_shown_and_parts_of_it_removed(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = own_cache
    assert main(["clean"]) == 0
    assert "nothing is in" in capsys.readouterr().out
    for name in ("image", "guest"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_bytes(bytes(3 << 20))
    assert main(["clean"]) == 0
    assert "3 MiB" in capsys.readouterr().out
    assert main(["clean", "guest"]) == 0
    assert [path.name for path in root.iterdir()] == ["image"]
    assert main(["clean", "all"]) == 0
    assert list(root.iterdir()) == []


def test_the_image_and_git_are_no_wait_for_xen(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[Deadline] = []

    def note(*_: object, deadline: Deadline, **__: object) -> NoReturn:
        deadlines.append(deadline)
        raise deadline.error()

    monkeypatch.setattr("pytest_xenscrub.guest.build.build_kernel", lambda: "kernel")
    monkeypatch.setattr("pytest_xenscrub.host.emulated.image.ensure_image", note)
    monkeypatch.setattr(xen_options, "xens_of", lambda _: SimpleNamespace(names=[]))
    options = argparse.Namespace(no_image=False, suite="bookworm", guest_type=["pv"])
    with pytest.raises(DeadlineExceededError, match="building the host's image"):
        prepare.run(options)

    def git(_argv: object, _why: str, deadline: Deadline) -> NoReturn:
        note(deadline=deadline)

    monkeypatch.setattr(bisect, "git_or_raise", git)
    judge: Any = SimpleNamespace(tree=Path("/nowhere"))
    with pytest.raises(DeadlineExceededError, match="git worktree"):
        bisect.bisect(Path("/nowhere"), "good", "bad", judge)
    assert [deadline.blames_xen for deadline in deadlines] == [False, False]


@pytest.mark.parametrize("arguments", [["report", "{written}"], ["help"]])
def test_a_reader_that_ended_is_no_error(arguments: list[str], written: Path) -> None:
    code = "import sys; from pytest_xenscrub.command.main import main; sys.exit(main())"
    words = [word.format(written=written) for word in arguments]
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], stdout=writes, stderr=subprocess.PIPE, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (NOBODY_READS, b"")


def test_control_c_is_told_to_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_xenscrub.command.main.complete", interrupted)
    try:
        status = main(["prepare"])
    except KeyboardInterrupt:  # which would end this run, too
        pytest.fail("Ctrl-C went on")
    assert status == INTERRUPTED == 130


def test_looking_for_commits_is_no_wait_for_xen(monkeypatch: pytest.MonkeyPatch) -> None:
    def lets_it_pass(_repository: Path, _name: str, deadline: Deadline) -> NoReturn:
        raise deadline.error()

    monkeypatch.setattr(bisect, "resolve", lets_it_pass)
    options = argparse.Namespace(source=Path("/nowhere"), good="a", bad="b", pytest=[])
    with pytest.raises(DeadlineExceededError, match="looking at the repository"):
        bisect.run(options)
