# SPDX-License-Identifier: MIT
"""What the plugin does before any host is used: help, collection, limits."""

from __future__ import annotations

from typing import NoReturn

import pytest

from faked_run import HOST, MEASURES, run, starts
from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.choice import Xens

pytestmark = pytest.mark.usefixtures("faked_host")


def test_help_starts_nothing(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(HOST, "--help")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["memory scrubbing of *:", "*--xen-host=HOST*"])


def test_collecting_starts_and_builds_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: object) -> NoReturn:
        raise AssertionError("a Xen was built")

    monkeypatch.setattr(Xens, "get", get)
    pytester.makepyfile("def test_it(victim, probe, timings): pass")
    result = pytester.runpytest_inprocess(HOST, "--xen-variant=sync", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::test_it?sync?"])


def test_without_a_host_tests_are_skipped_and_say_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(victim, probe, timings): pass")
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no host: say --xen-host=emulated or --xen-host=*"])


def test_tests_that_need_no_host_know_nothing_of_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*xen host:*")


@pytest.mark.parametrize(
    ("host", "header"),
    [
        ("emulated", "xen host: emulated (a real Xen in QEMU on this machine)"),
        ("root@lab7", "xen host: root@lab7 (over ssh)"),
        ("lab7 --xen-host=lab8", "xen hosts: lab7, lab8 (over ssh)"),
    ],
)
def test_the_header_names_the_host(pytester: pytest.Pytester, host: str, header: str) -> None:
    result = pytester.runpytest_inprocess(*f"--xen-host={host}".split())
    result.stdout.fnmatch_lines([header])


def test_what_cannot_be_profiled_says_why(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--xen-host=root@lab7", "--xen-profile")
    result.stdout.fnmatch_lines(["xen profile: skipped: *real machine (root@lab7)*"])
    result = pytester.runpytest_inprocess("--xen-host=emulated", "--xen-profile")
    result.stdout.no_fnmatch_line("*xen profile*")


def test_a_variant_that_does_not_apply_ends_the_run_before_any_host(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(_: object, name: str) -> NoReturn:
        raise ConfigurationError(f"{name}: hunk 1 does not apply")

    monkeypatch.setattr(Xens, "get", get)
    result = run(project, MEASURES, "--xen-variant=sync")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: sync: hunk 1 does not apply"])
    assert starts(project) == []


def test_tests_on_a_host_have_a_limit(project: pytest.Pytester) -> None:
    test = """
        import pytest

        def limits(request):
            return [mark.args[0] for mark in request.node.iter_markers("timeout")]

        def test_default(request, xen_host): assert limits(request) == [1500]

        @pytest.mark.timeout(30)
        def test_own(request, xen_host): assert limits(request) == [30]

        def test_elsewhere(request): assert limits(request) == []
    """
    run(project, test).assert_outcomes(passed=3)


@pytest.mark.parametrize("where", ["ini", "environment", "command line"])
def test_a_limit_of_the_users_wins(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    arguments = ["--timeout=77"] if where == "command line" else []
    if where == "ini":
        arguments = ["-o", "timeout=77"]
    if where == "environment":
        monkeypatch.setenv("PYTEST_TIMEOUT", "77")
    test = """
        from pytest_timeout import _get_item_settings

        def test_it(request, xen_host):
            assert _get_item_settings(request.node).timeout == 77
    """
    run(project, test, *arguments).assert_outcomes(passed=1)
