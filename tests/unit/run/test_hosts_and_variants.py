# SPDX-License-Identifier: MIT
"""Several hosts, several Xens, and repeats in one run."""

from __future__ import annotations

import pytest

from faked_run import MEASURES, run, starts

pytestmark = pytest.mark.usefixtures("faked_host")


# -- several hosts -----------------------------------------------------------------------------


TAGGED = """
    import pytest

    @pytest.mark.xen_host_tags("numa", "big")
    def test_numa(xen_host): pass
    def test_anywhere(xen_host): pass
"""


def test_a_test_that_no_host_suits_is_skipped_with_its_reason(project: pytest.Pytester) -> None:
    result = run(project, TAGGED, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*emulated has no big, numa"])
    run(project, TAGGED, "-k", "numa")
    assert len(starts(project)) == 1  # of the run before: nothing is started to skip something


def test_more_workers_than_machines_end_the_run_before_it_starts(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("def test_it(xen_host): pass")
    result = pytester.runpytest_subprocess("--xen-host=lab7", "--xen-host=lab8", "-n3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 3 workers, and 2 hosts for them: lab7, lab8"])


def test_workers_are_sent_what_suits_their_host(pytester: pytest.Pytester) -> None:
    """Nobody listens there; that is told of the host that was to be used."""
    pytester.makefile(
        ".toml",
        labs="[hosts.one]\naddress = '127.0.0.1'\nport = 1\n"
        "[hosts.two]\naddress = '127.0.0.1'\nport = 2\ntags = ['numa']\n",
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xen_host_tags("numa")
        @pytest.mark.parametrize("n", range(4))
        def test_numa(xen_host, n):
            pass
        """
    )
    result = pytester.runpytest_subprocess("--xen-hosts-file=labs.toml", "-n2", "-v")
    result.assert_outcomes(errors=4)
    result.stdout.no_fnmatch_line("*one has no numa*")
    result.stdout.fnmatch_lines(["*[[]gw1[]]*ERROR*test_numa*"])


def test_hosts_out_of_use_are_told_with_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", labs="[hosts.one]\nbroken = 'no disk'\n[hosts.two]\n")
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess("--xen-hosts-file=labs.toml")
    result.stdout.fnmatch_lines(["xen host: two (over ssh)", "xen hosts out of use: one (no disk)"])
    result = pytester.runpytest_inprocess("--xen-hosts-file=labs.toml", "--xen-host=one")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: out of use: one (no disk)"])


def test_hosts_that_cannot_be_meant_together_are_a_usage_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--xen-host=lab7", "--xen-host=emulated")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: emulated cannot be one of several hosts*"])


# -- repeats and variants ----------------------------------------------------------------------


def test_repeats_have_ids_and_one_line_in_the_table(project: pytest.Pytester) -> None:
    test = """
        def test_measured(measure, xen_repeat): measure(float(xen_repeat))
        def test_other(): pass
    """
    result = run(project, test, "--xen-repeat=3", "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines([f"*::test_measured?repeat{n}? PASSED*" for n in (1, 2, 3)])
    result.stdout.fnmatch_lines(["measured * 3[*] * 2.50 (2.00-3.00) *"])
    result.stdout.fnmatch_lines(["* includes the first measurement after boot*"])
    result.stdout.fnmatch_lines(["*= repeats =*", "measured * destroy * 2 * 2.50 *(t)"])


def test_one_repeat_is_no_parameter(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "-v")
    result.stdout.fnmatch_lines(["*::test_measured PASSED*"])


def test_each_variant_runs_the_tests_that_use_a_host(project: pytest.Pytester) -> None:
    test = """
        def test_measured(measure, xen_variant):
            measure(1.0 if xen_variant.name == "stock" else 4.0)
        def test_again(xen_host): pass
        def test_other(): pass
    """
    result = run(project, test, "--xen-variant=sync", "--xen-variant=stock", "-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        ["*::test_measured?sync? PASSED*", "*::test_measured?stock? PASSED*"]
    )
    result.stdout.fnmatch_lines(["*compared with sync*", "measured * stock * 1.00 * 4.00x *"])
    assert starts(project) == ["sync", "stock"]


def test_one_variant_that_was_asked_for_is_a_parameter_too(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "--xen-variant=tasklet", "-v")
    result.stdout.fnmatch_lines(["*::test_measured?tasklet? PASSED*"])
    result.stdout.no_fnmatch_line("*compared with*")


def test_toolstacks_are_parameters_where_there_are_several(project: pytest.Pytester) -> None:
    test = """
        def test_measured(measure, xen_toolstack): measure(1.0 if xen_toolstack == "xl" else 2.0)
        def test_other(xen_host): pass
    """
    result = run(project, test, "--xen-toolstack=xl", "--xen-toolstack=libvirt", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_measured?xl? PASSED*", "*::test_measured?libvirt? *"])
    result.stdout.fnmatch_lines(["measured * xl * 1.00 *", "measured * libvirt * 2.00 *"])


def test_one_toolstack_is_no_parameter(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "--xen-toolstack=libvirt", "-v")
    result.stdout.fnmatch_lines(["*::test_measured PASSED*", "measured * libvirt *"])


def test_types_of_guest_are_parameters_where_there_are_several(project: pytest.Pytester) -> None:
    test = "def test_measured(measure, xen_guest_type): measure(1.0)"
    result = run(project, test, "--xen-guest-type=pv", "--xen-guest-type=pvh", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_measured?pv? PASSED*", "*::test_measured?pvh? *"])
    result.stdout.fnmatch_lines(["measured * pv * 1.00 *", "measured * pvh * 1.00 *"])


def test_a_type_that_a_toolstack_cannot_start_is_skipped_and_says_why(
    project: pytest.Pytester,
) -> None:
    both = ("--xen-toolstack=xl", "--xen-toolstack=libvirt", "--xen-guest-type=hvm")
    result = run(project, "def test_it(guests): pass", *both, "-k", "libvirt", "-rs")
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED*libvirt starts no hvm guest*firmware; xl can*"])
