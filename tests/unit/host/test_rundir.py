# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

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
