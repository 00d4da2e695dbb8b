# SPDX-License-Identifier: MIT
"""The quick suite on a pool of two machines, one of which hangs in the middle of it."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.reboot import running as which_runs
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS
from pytest_xenscrub.testing import ALIAS

from .runs import lab_machine, running

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.testing import LabMachine

RUN_SECONDS = 700.0
BEGIN_SECONDS = 200.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1150)]


def describe(machines: dict[str, LabMachine], folder: Path) -> list[str]:
    """The options with which a run uses a pool of them."""
    config = folder / "ssh_config"
    hosts = folder / "labs.toml"
    texts = {name: lab.ssh_config.read_text() for name, lab in machines.items()}
    config.write_text(
        "".join(text.replace(f"Host {ALIAS}", f"Host {name}") for name, text in texts.items())
    )
    hosts.write_text(
        "".join(
            f"[hosts.{name}]\npower = '''{lab.power}'''\nserial = '''{lab.serial}'''\n"
            for name, lab in machines.items()
        )
    )
    return [f"--xen-hosts-file={hosts}", f"--xen-ssh-config={config}"]


def test_a_machine_that_hangs_costs_its_pool_one_test(tmp_path: Path) -> None:
    """It is told what hung, power-cycled and used again; the other one's tests are not touched."""
    with lab_machine() as one, lab_machine() as two:
        options = describe({"lab1": one, "lab2": two}, tmp_path)
        results = tmp_path / "results.jsonl"
        with running(
            "tests/scrub", "-m", "quick", "-n2", f"--xen-results={results}", *options
        ) as run:
            end = time.monotonic() + BEGIN_SECONDS
            while not (results.exists() and '"host": "lab2"' in results.read_text()):
                assert run.process.poll() is None, run.finish(1).output
                assert time.monotonic() < end, "lab2 measured nothing"
                time.sleep(0.5)
            two.freeze()
            done = run.finish(RUN_SECONDS)
        print(done.output)
        assert done.status == INFRASTRUCTURE_STATUS, done.output
        assert re.search(r"\b\d+ passed, .*1 error", done.output), done.output
        assert "dom0 stopped responding" in done.output, done.output
        assert "lab2: does not answer: power-cycled" in done.output, done.output
        assert re.search(r"lab2: answers again after \d+ s", done.output), done.output
        for lab in (one, two):
            with contextlib.closing(lab.connect()) as host:
                assert which_runs(host, Deadline.after(30, "who runs")).build_id
                listed = host.run(["xl", "list"], deadline=Deadline.after(30, "xl list")).stdout
                assert "xenscrub" not in listed
