# SPDX-License-Identifier: MIT
"""A test that fails, or a host that breaks: whose fault a run says it is."""

from __future__ import annotations

import pytest

from faked_run import HOST, run, starts
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

pytestmark = pytest.mark.usefixtures("faked_host")


# -- who is at fault ---------------------------------------------------------------------------


RAISES = """
    import pytest
    from pytest_xenscrub.errors import *

    @pytest.fixture
    def broken():
        raise {error}

    def test_in_fixture(broken): pass
    def test_in_test(): raise {error}

    def test_in_teardown(late): pass

    @pytest.fixture
    def late():
        yield
        raise {error}
"""


def test_a_missing_tool_is_an_error_that_says_what_to_install(project: pytest.Pytester) -> None:
    error = "MissingToolError('qemu is not installed', todo='apt-get install qemu')"
    result = run(project, RAISES.format(error=error), "-k", "not teardown")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["E *qemu is not installed", "E *next: apt-get install qemu"] * 2)
    assert result.ret == INFRASTRUCTURE_STATUS


def test_what_does_not_apply_is_a_skip_with_its_reason(project: pytest.Pytester) -> None:
    error = "NotApplicableError('this Xen cannot migrate', todo='build one that can')"
    result = run(project, RAISES.format(error=error), "-rs", "-k", "not teardown")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*this Xen cannot migrate (build one that can)"] * 2)


def test_what_is_around_xen_is_an_error_wherever_it_is_raised(project: pytest.Pytester) -> None:
    error = "InfrastructureError('no connection', todo='plug it in')"
    result = run(project, RAISES.format(error=error))
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(["ERROR *test_in_fixture*no connection*"])
    result.stdout.fnmatch_lines(["ERROR *test_in_test*no connection*"])


def test_a_fault_of_xens_is_a_failure_wherever_it_is_raised(project: pytest.Pytester) -> None:
    error = "XenFaultError('Xen panicked', evidence={'serial log': 'panic'})"
    result = run(project, RAISES.format(error=error))
    result.assert_outcomes(failed=2, passed=1, errors=1)  # as pytest has it after a test
    result.stdout.fnmatch_lines(["*Xen panicked", "*serial log:", "*| panic"])
    result.stdout.fnmatch_lines(["FAILED *test_in_fixture*Xen panicked*"])


def test_what_is_met_once_we_ended_a_host_is_why_and_no_fault_of_xens(
    project: pytest.Pytester,
) -> None:
    test = """
        from pytest_xenscrub.errors import *

        def test_it(xen_host):
            why = InfrastructureError("it needs more than it may take", evidence={"fills": "all"})
            xen_host.outside.why_ended = lambda: why
            raise GuestFailedError("its console was closed: the guest has ended")
    """
    result = run(project, test)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*it needs more than it may take", "*fills:", "*| all"])
    result.stdout.no_fnmatch_line("*console was closed*")
    assert result.ret == INFRASTRUCTURE_STATUS


def test_an_error_shows_the_tests_own_line_and_not_ours(project: pytest.Pytester) -> None:
    test = """
        def test_it(xen_host):
            from pytest_xenscrub.units import parse_size
            parse_size("nothing")  # this line
    """
    result = run(project, test)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*this line", "E *'nothing' is not a size", "E *next: write it as*"]
    )
    result.stdout.no_fnmatch_line("*units.py*")


@pytest.mark.parametrize("style", ["--tb=long", "--full-trace"])
def test_all_of_a_traceback_for_who_asks(project: pytest.Pytester, style: str) -> None:
    test = """
        def test_it():
            from pytest_xenscrub.units import parse_size
            parse_size("nothing")
    """
    run(project, test, style).stdout.fnmatch_lines(["*units.py*"])


def test_errors_count_under_xdist_as_they_do_without(project: pytest.Pytester) -> None:
    test = """
        from pytest_xenscrub.errors import *

        def test_passed(xen_host): pass
        def test_failed(xen_host): raise XenFaultError("Xen panicked")
        def test_error(xen_host): raise InfrastructureError("no connection")
        def test_skipped(xen_host): raise NotApplicableError("no NUMA")
    """
    project.makepyfile(test_it=test)
    result = project.runpytest_subprocess(HOST, "-n2", "-rs")
    result.assert_outcomes(passed=1, failed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no NUMA"])


# -- a host that breaks ------------------------------------------------------------------------


def test_what_fails_for_the_whole_session_is_told_in_full_once(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from pytest_xenscrub.errors import InfrastructureError

        @pytest.fixture(scope="session")
        def cable():
            raise InfrastructureError("no connection", todo="plug it in")

        def test_first(cable): pass
        def test_second(cable): pass
        def test_third(cable): pass
    """
    )
    result = project.runpytest_subprocess(HOST)
    result.assert_outcomes(errors=3)
    assert result.stdout.str().count("next: plug it in") == 1
    result.stdout.fnmatch_lines(["ERROR*test_first - no connection"])
    result.stdout.fnmatch_lines(["ERROR*test_third - no connection (told above)"])


def test_what_a_worker_says_is_printed(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        from pytest_xenscrub.run.stash import SESSION

        def test_says(request): request.config.stash[SESSION].say("made anew")
    """
    )
    result = project.runpytest_subprocess(HOST, "-n1")
    result.stdout.fnmatch_lines(["*xen: [[]gw0[]] made anew"])


STALLS = """
    def test_stalls(xen_host, managed_host): managed_host.up.dom0.stall = 7.5
    def test_after(xen_host, managed_host): assert managed_host.up.dom0.stall == 0
    def test_short(xen_host, managed_host): managed_host.up.dom0.stall = 4.5
"""


def test_a_stall_fails_the_test_that_did_it_and_the_host_is_made_anew(
    project: pytest.Pytester,
) -> None:
    result = run(project, STALLS)
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["*emulated: made anew, because: emulated: dom0 did not respond for 7.5 s*"]
    )
    assert len(starts(project)) == 2


def test_what_xen_finds_wrong_with_itself_fails_the_test_that_did_it(
    project: pytest.Pytester,
) -> None:
    test = """
        WARN = "(XEN) Xen WARN at page_alloc.c:7" + chr(10) + "(XEN) Xen call trace:"
        def test_warns(xen_host, managed_host): managed_host.up.dom0.said = WARN
        def test_after(xen_host): pass
    """
    result = run(project, test)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*emulated: (XEN) Xen WARN at page_alloc.c:7", "*| (XEN) Xen call trace:"]
    )
    assert len(starts(project)) == 1


def test_a_dom0_that_does_not_answer_after_a_failure_is_made_anew(
    project: pytest.Pytester,
) -> None:
    test = """
        def test_hangs(xen_host, managed_host):
            managed_host.up.dom0.answers = False
            assert False
        def test_after(xen_host): pass
    """
    run(project, test).assert_outcomes(failed=1, passed=1)
    assert len(starts(project)) == 2


def test_a_host_that_breaks_now_and_then_is_not_given_up(project: pytest.Pytester) -> None:
    test = """
        import pytest
        @pytest.mark.parametrize("stall", [7.5, 0, 7.5, 0, 7.5, 0])
        def test_stalls(xen_host, managed_host, stall): managed_host.up.dom0.stall = stall
    """
    run(project, test).assert_outcomes(failed=3, passed=3)
    assert len(starts(project)) == 4


def test_a_stall_of_a_starved_host_is_undecided(project: pytest.Pytester) -> None:
    test = """
        def test_stalls(xen_host, managed_host):
            managed_host.up.dom0.worst_stall = lambda: (7.5, 6.0)
        def test_after(xen_host): pass
    """
    result = run(project, test)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*other work kept it from running for another 6.0 s*"])


def test_a_host_that_keeps_breaking_is_given_up(project: pytest.Pytester) -> None:
    test = """
        import pytest
        @pytest.mark.parametrize("n", range(5))
        def test_stalls(xen_host, managed_host, n): managed_host.up.dom0.stall = 7.5
    """
    result = run(project, test)
    result.assert_outcomes(failed=2, errors=3)
    result.stdout.fnmatch_lines(["*host unusable with Xen as-is: emulated: dom0 did not respond*"])


def test_a_failed_assertion_shows_xens_log(project: pytest.Pytester) -> None:
    result = run(project, "def test_it(xen_host): assert 1 == 2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert 1 == 2*", "*xen host*", "emulated: emulated (TCG), Xen *"]
    )
    result.stdout.fnmatch_lines(["*Xen's log*", "(XEN) last words"])
    assert len(starts(project)) == 1
