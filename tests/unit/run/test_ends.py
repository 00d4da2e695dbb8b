# SPDX-License-Identifier: MIT
"""How a run ends: by itself, and by a signal."""

from __future__ import annotations

import signal
import time

import pytest

from faked_run import run, start, wait_for

pytestmark = pytest.mark.usefixtures("faked_host")


def test_sigterm_tears_down_and_prints_the_summary(project: pytest.Pytester) -> None:
    test = """
        import time, pytest
        from pathlib import Path

        @pytest.fixture
        def guest():
            yield
            time.sleep(0.3)
            Path("torn-down").touch()

        def test_measured(measure): measure(1.25)

        def test_hangs(guest):
            Path("hangs").touch()
            time.sleep(60)

        def test_never(): Path("never").touch()
    """
    process = start(project, test)
    wait_for(project.path / "hangs", process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # must not interrupt the clean-up
    output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert (project.path / "torn-down").exists()
    assert not (project.path / "never").exists()
    assert "measured" in output
    assert "1.25" in output
    assert "SIGTERM" in output


def test_sigterm_is_not_lost_where_a_clean_up_fails(project: pytest.Pytester) -> None:
    """The error of the clean-up takes its place: that proves nothing of Xen, and the run ends."""
    test = """
        import time
        from pathlib import Path
        from pytest_xenscrub.errors import XenFaultError

        def test_hangs(dom0):
            Path("hangs").touch()
            try:
                time.sleep(60)
            except BaseException:
                raise XenFaultError("dom0 does not answer")

        def test_never(): Path("never").touch()
    """
    process = start(project, test)
    wait_for(project.path / "hangs", process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert not (project.path / "never").exists()
    assert "FAILED" not in output
    assert "SIGTERM" in output


def test_sigterm_reaches_the_workers(project: pytest.Pytester) -> None:
    test = """
        import os, time, pytest
        from pathlib import Path

        @pytest.fixture
        def guest():
            yield
            time.sleep(0.3)
            Path("torn-down-" + os.environ["PYTEST_XDIST_WORKER"]).touch()

        @pytest.mark.parametrize("n", range(2))
        def test_hangs(guest, n):
            Path("hangs-" + os.environ["PYTEST_XDIST_WORKER"]).touch()
            time.sleep(60)
    """
    process = start(project, test, "-n2")
    for worker in ("gw0", "gw1"):
        wait_for(project.path / f"hangs-{worker}", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert {path.name for path in project.path.glob("torn-down-*")} == {
        "torn-down-gw0",
        "torn-down-gw1",
    }


@pytest.mark.parametrize(
    ("ends", "outcomes"),
    [
        ("raise NotApplicableError('one node only')", {"skipped": 1, "errors": 1}),
        ("raise CommandError('xl create')", {"errors": 2}),
        ("assert False, 'RESIDUE'", {"failed": 1}),
        ("pytest.xfail('known')", {"xfailed": 1, "errors": 1}),
        ("pass", {"failed": 1}),
    ],
)
def test_no_other_end_of_a_test_hides_what_xen_finds_wrong_with_itself(
    project: pytest.Pytester, ends: str, outcomes: dict[str, int]
) -> None:
    test = f"""
        import pytest
        from pytest_xenscrub.errors import *

        def test_warns(measure, managed_host):
            measure()
            managed_host.up.dom0.said = "(XEN) Assertion 'x' failed at page_alloc.c:7"
            {ends}

        def test_after(measure): measure()
    """
    result = run(project, test)
    result.assert_outcomes(passed=1, **outcomes)
    assert result.ret == 1


def test_what_xen_finds_wrong_while_guests_are_cleaned_up_is_told(project: pytest.Pytester) -> None:
    test = """
        import pytest

        @pytest.fixture
        def cleaned_up(managed_host, xen_host):
            yield
            managed_host.up.dom0.said = "(XEN) Assertion 'x' failed at page_alloc.c:7"

        def test_it(measure, cleaned_up): measure()
    """
    result = run(project, test)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*emulated: (XEN) Assertion*"])
