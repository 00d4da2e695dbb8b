# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import fcntl
import subprocess
from typing import IO, TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.rundir import RunFolder, base_folder, sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("pytest_xenscrub.host.rundir._BASE_MAX", 200)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_run_that_lives_is_not_swept_and_a_dead_one_is() -> None:
    living = RunFolder()
    dead = living.path.parent / "run-dead"
    dead.mkdir()
    (dead / "serial.log").touch()
    assert sweep(living.path.parent) == [dead]
    assert living.path.exists()
    assert not dead.exists()
    living.close()


def test_the_next_run_sweeps_and_the_last_one_leaves_nothing() -> None:
    dead = base_folder() / "run-dead"
    dead.mkdir()
    first, second = RunFolder(), RunFolder()
    assert not dead.exists()
    first.close()
    assert second.path.exists()
    second.close()
    second.close()
    assert not second.path.parent.exists()


def test_what_still_runs_for_a_dead_run_is_killed() -> None:
    base = base_folder()
    dead = base / "run-dead"
    dead.mkdir()
    with subprocess.Popen(
        ["sh", "-c", "echo; sleep 60; :", str(dead)], stdout=subprocess.PIPE
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()  # it runs, so its command line is its own by now
        (dead / "qemu.pid").write_text(str(left.pid))
        try:
            sweep(base)
            assert left.wait(5) == -9
        finally:
            left.kill()


def test_a_recycled_process_id_is_left_alone() -> None:
    base = base_folder()
    dead = base / "run-dead"
    dead.mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        (dead / "qemu.pid").write_text(str(other.pid))
        sweep(base)
        assert other.poll() is None
        other.kill()


def test_a_folder_open_to_others_is_refused() -> None:
    base_folder().chmod(0o755)
    with pytest.raises(InfrastructureError, match="ours alone"):
        RunFolder()


def test_a_base_that_another_run_has_just_removed_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, tries = RunFolder._make, []

    def sometimes(self: RunFolder, base: Path) -> None:
        tries.append(base)
        if len(tries) == 1:
            raise FileNotFoundError(base)
        make(self, base)

    monkeypatch.setattr(RunFolder, "_make", sometimes)
    folder = RunFolder()
    assert len(tries) == 2
    folder.close()


def test_a_folder_that_cannot_be_locked_is_infrastructure_and_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flock = fcntl.flock

    def refuse(file: int | IO[str], operation: int) -> None:
        if not isinstance(file, int):
            raise OSError(errno.ENOLCK, "No locks available")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InfrastructureError, match="cannot be made: No locks available"):
        RunFolder()
    assert list(base_folder().iterdir()) == []
