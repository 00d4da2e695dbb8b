# SPDX-License-Identifier: MIT
"""The Xen that does not scrub: a control must fail there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from faked_run import CONFTEST, HOST, NOTHING_IS_BUILT, run, starts
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

pytestmark = pytest.mark.usefixtures("faked_host")


RESIDUE = "raise ResidueError('7 frames')"
CONTROLLED = """
    import pytest
    from pytest_xenscrub.errors import ResidueError

    @pytest.mark.control
    def test_leaves_nothing(xen_host, managed_host):
        if managed_host.xen.name == "noscrub":
            {on_control}

    def test_no_control(managed_host, measure):
        assert managed_host.xen.name != "noscrub"
        measure()
"""


def test_a_control_that_fails_with_residue_is_as_expected(project: pytest.Pytester) -> None:
    test = CONTROLLED.format(on_control=RESIDUE)
    result = run(project, test, "--xen-control", "-v")
    result.assert_outcomes(xfailed=1, passed=2)
    result.stdout.fnmatch_lines(["*::test_leaves_nothing?control? XFAIL*"])
    assert result.ret == 0
    assert starts(project)[0] == "noscrub"


def test_a_control_whose_probe_saw_residue_may_fail_over_anything(project: pytest.Pytester) -> None:
    on_control = "request.node.user_properties.append(('xen.verdict[0].state', 'residue'));"
    test = CONTROLLED.replace("xen_host, managed_host", "xen_host, managed_host, request")
    result = run(project, test.format(on_control=on_control + " assert 1 == 2"), "--xen-control")
    result.assert_outcomes(xfailed=1, passed=2)
    assert result.ret == 0


def test_a_control_that_passes_stops_the_session(project: pytest.Pytester) -> None:
    result = run(project, CONTROLLED.format(on_control="pass"), "--xen-control")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*passed on a Xen that does not scrub*"])
    assert starts(project) == ["noscrub"]


def test_a_control_that_passes_stops_all_workers(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT)
    project.makepyfile(test_it=CONTROLLED.format(on_control="pass"))
    result = project.runpytest_subprocess(HOST, "--xen-control", "-n2")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*passed on a Xen that does not scrub*"])


def test_a_control_that_fails_without_residue_is_an_error(project: pytest.Pytester) -> None:
    test = CONTROLLED.format(on_control="assert False, 'no RESIDUE: UNPROVEN'")
    result = run(project, test, "--xen-control")
    result.assert_outcomes(errors=1, passed=2)
    result.stdout.fnmatch_lines(["*it failed on the control, but saw no residue*"])
    assert result.ret == INFRASTRUCTURE_STATUS


def test_a_control_whose_host_breaks_has_proven_nothing(project: pytest.Pytester) -> None:
    error = "raise __import__('pytest_xenscrub.errors').errors.InfrastructureError('no RESIDUE')"
    result = run(project, CONTROLLED.format(on_control=error), "--xen-control")
    result.assert_outcomes(errors=1, passed=2)
    assert result.ret == INFRASTRUCTURE_STATUS


def test_witnesses_that_disagree_are_an_error_and_the_session_goes_on(
    project: pytest.Pytester,
) -> None:
    test = """
        import pytest
        from pytest_xenscrub.errors import DisagreementError, InfrastructureError

        def test_it(xen_host):
            try:
                raise DisagreementError("probe-2 called frames clean which hold data")
            except InfrastructureError:
                pass  # a test that expects the toolstack to fail

        def test_another(xen_host):
            assert False, "RESIDUE"
    """
    result = run(project, test)
    result.assert_outcomes(errors=1, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_it*probe-2 called frames clean which hold data*"])
    result = run(project, test, "-k", "test_it and not another")
    assert result.ret == INFRASTRUCTURE_STATUS


SEES_RESIDUE = """
    import pytest

    def test_leaks(xen_host, measure, request):
        measure()
        state = ("xen.verdict[0].state", "residue")
        if state not in request.node.user_properties:
            request.node.user_properties.append(state)
        {then}
"""


@pytest.mark.parametrize("status", [[], ["--xen-exit=bisect"]], ids=["status", "bisect"])
def test_a_test_that_passes_over_residue_does_not_pass_the_run(
    project: pytest.Pytester, status: list[str]
) -> None:
    result = run(project, SEES_RESIDUE.format(then="pass"), *status)
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*saw residue, and the test did not fail over that*"])


def test_residue_that_a_test_saw_before_it_was_run_again_is_not_forgotten(
    project: pytest.Pytester,
) -> None:
    """As plugins do that run a test again after it failed."""
    project.makeconftest(
        CONFTEST
        + """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        report.outcome = "rerun"
    return report
"""
    )
    project.makepyfile(test_it=SEES_RESIDUE.format(then="assert False, 'RESIDUE'"))
    result = project.runpytest_subprocess(HOST)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*RESIDUE in 1*"])


@pytest.mark.parametrize("how", ["-O", "PYTHONOPTIMIZE"])
def test_python_without_assertions_judges_nothing(project: pytest.Pytester, how: str) -> None:
    project.makepyfile(test_it="def test_it(xen_host): assert False")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {} if how == "-O" else {how: "1"}
    done = subprocess.run(
        [sys.executable, *(["-O"] if how == "-O" else []), "-m", "pytest", HOST,
         "-Wdefault"],
        cwd=project.path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "python -O leaves assertions out" in done.stderr


def test_noscrub_as_any_other_variant_is_no_control(project: pytest.Pytester) -> None:
    test = CONTROLLED.format(on_control=RESIDUE)
    result = run(project, test, "--xen-variant=noscrub", "-k", "leaves")
    result.assert_outcomes(failed=1)


def test_a_users_xfail_makes_no_control_of_a_test(project: pytest.Pytester) -> None:
    test = CONTROLLED.format(on_control=RESIDUE).replace("mark.control", "mark.xfail")
    result = run(project, test, "--xen-variant=noscrub", "-k", "leaves")
    result.assert_outcomes(failed=1)
    assert result.ret == 1
