# SPDX-License-Identifier: MIT
"""Runs of pytest in pytest: what users see, over a host that is faked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host import emulated
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
from pytest_xenscrub.run import preflight
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

if TYPE_CHECKING:
    from pathlib import Path

HOST = "--xen-host=emulated"

# A host that is made of nothing, and what tests on it may ask for.
CONFTEST = """
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_xenscrub.run import preflight
from pytest_xenscrub.dom0.answers import Reclaim, XenInfo
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import HostStalledError
from pytest_xenscrub.guest.guest import Ended
from pytest_xenscrub.run.managed_host import ManagedHost, RunningXen


preflight.check = lambda *_: None  # in a process of its own, where `_no_real_host` does not reach
STARVED = {"seconds": 0.0}


class Dom0:
    alive = True

    def __init__(self, host):
        self.host = host
        self.stall = 0.0
        self.said = ""
        self.answers = True

    def watch_log(self):
        self.said = ""

    def faults(self):
        return self.said

    def watch_stalls(self):
        self.stall = 0.0

    def worst_stall(self):
        return self.stall, 0.0

    def stalled_seconds(self):
        return self.stall

    total_bytes = 4 << 30

    def patience_seconds(self, memory_bytes):
        return 150.0

    def patience(self, step, memory_bytes=0, *, seconds=None):
        return Deadline.after(60.0 if seconds is None else seconds, step)

    def ping(self, deadline):
        if not self.answers:
            raise HostStalledError("dom0 stopped responding")

    def evidence(self):
        return {"Xen's log": "(XEN) last words"}

    def close(self, **_):
        pass


class FakeManagedHost(ManagedHost):
    def _start(self):
        with Path("started").open("a") as file:
            file.write(self.xen.name + chr(10))
        host = SimpleNamespace(name="emulated", kind="emulated (TCG)", close=lambda: None)
        host.outside = SimpleNamespace(
            starved_seconds=lambda: STARVED["seconds"], stood_seconds=lambda: 0.0,
            why_ended=lambda: None,
        )
        info = XenInfo("4.17.5", False, "c0ffee", "", 4 << 30, 2, 1, "a CPU")
        return RunningXen(self.xen, host, Dom0(host), info, None, None)


@pytest.fixture(scope="session")
def _guest_kernel():
    return None


@pytest.fixture(scope="session")
def managed_host(_xen_session, xen_variant):
    deployment = SimpleNamespace(stop=lambda *, broken: None)
    managed = FakeManagedHost("emulated", xen_variant, deployment, _xen_session.say)
    _xen_session.managed_host = managed
    yield managed
    _xen_session.managed_host = None


@pytest.fixture
def toolstack(xen_host, xen_toolstack):
    types = ("pv", "pvh") if xen_toolstack == "libvirt" else ("pv", "pvh", "hvm")
    return SimpleNamespace(name=xen_toolstack, version="1.2.3", types=types)


@pytest.fixture
def measure(timings):
    def measure(destroy=1.0, verdict="clean", samples=None):
        guest = SimpleNamespace(
            memory_bytes=1 << 30,
            config=SimpleNamespace(vcpus=2),
            created=SimpleNamespace(seconds=0.5),
            last=lambda kind: None,
        )
        moments = Reclaim(10.0, 10.0 + destroy, 12.0, 13.0, 14.0, None, [], [])
        row = timings.record(Ended(guest, "destroy", moments, None, samples))
        row.verdict = verdict
        return row

    return measure
"""
# For a process of its own, where `_no_real_host` does not reach.
NOTHING_IS_BUILT = """
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens

Xens.get = lambda xens, name: ChosenXen(xens.variants[name])
"""
MEASURES = """
import pytest

@pytest.mark.quick
def test_measured(measure):
    measure(1.25)
"""


SAMPLED = """
from pytest_xenscrub.host.sampling import CpuState, Sample, Samples
from pytest_xenscrub.host.symbols import Symbols

def test_sampled(measure):
    symbols = Symbols([(0xFFFF82D040200000, "clear_page_sse2"), (1 << 64, "end")], "xen-syms")
    cpu = CpuState(0, 0xFFFF82D040200010, 0, False)
    looks = tuple(Sample(n * 0.05, (cpu,)) for n in range(30))
    row = measure(1.25, samples=Samples(looks, 1.5, 0.1, symbols))
    row.exposure_curve = [[0.0, 1.0], [1.0, 0.0]]
"""


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_real_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a host was started")

    def get(xens: Xens, name: str) -> ChosenXen:
        return ChosenXen(xens.variants[name])

    monkeypatch.setattr(emulated.EmulatedHost, "start", start)
    monkeypatch.setattr(emulated, "prepare_image", start)
    monkeypatch.setattr(Xens, "get", get)
    monkeypatch.setattr(preflight, "check", lambda *_: None)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a faked host; strict about warnings, as the project's own tests are."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
    return pytester


def run(project: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    """Run a test file on the faked host."""
    project.makepyfile(test_it=test)
    return project.runpytest_inprocess("-p", "no:cacheprovider", HOST, *arguments)


def rows_in(path: Path) -> list[dict[str, Any]]:
    """The measurements of a results' file, without what the whole run came to."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "fit" not in line]


def starts(project: pytest.Pytester) -> list[str]:
    """The Xens that were started, in that order."""
    path = project.path / "started"
    return path.read_text().split() if path.exists() else []


# -- before any host ---------------------------------------------------------------------------


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


# -- an earlier run ----------------------------------------------------------------------------


def earlier(project: pytest.Pytester) -> str:
    """Measures 1.25 s, and has the option that compares with it."""
    run(project, MEASURES, "--xen-results=earlier.jsonl", "-p", "no:terminal")
    return "--xen-compare=earlier.jsonl"


def test_an_earlier_run_is_compared(project: pytest.Pytester) -> None:
    compare = earlier(project)
    result = run(project, MEASURES.replace("1.25", "2.5"), compare)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= compared with an earlier run =*",
            "then: emulated: *, xl 1.2.3, 20??-*",
            "now:  emulated: *, xl 1.2.3, 20??-*",
            "measured * 2.50 2.00x *",
        ]
    )


def test_the_file_compared_with_may_be_the_one_that_is_written(project: pytest.Pytester) -> None:
    compare = earlier(project)
    slower = MEASURES.replace("1.25", "2.5")
    result = run(project, slower, compare, "--xen-results=earlier.jsonl")
    result.stdout.fnmatch_lines(["measured * 2.50 2.00x *"])


@pytest.mark.parametrize(("now", "ret"), [("1.3", 0), ("1.5", 1)])
@pytest.mark.parametrize("verbosity", ["-v", "-q", "-qq"])
def test_a_regression_fails_a_run_whose_tests_pass(
    project: pytest.Pytester, now: str, ret: int, verbosity: str
) -> None:
    compare = earlier(project)
    limits = ("--xen-fail-if=destroy:median:10%", "--xen-fail-if=gone:max:1%")
    result = run(project, MEASURES.replace("1.25", now), compare, *limits, verbosity)
    assert result.ret == ret
    fault = "worse: measured (xl, as-is, 1024 MiB): destroy median: 1.25 then, 1.50 s now*"
    if ret:
        result.stdout.fnmatch_lines(["*--xen-fail-if: failed*", fault])
    else:
        result.stdout.no_fnmatch_line("*--xen-fail-if*")


def test_what_is_no_more_than_noise_fails_no_run_and_is_told(project: pytest.Pytester) -> None:
    def repeats(*seconds: float) -> str:
        lines = "".join(f"\n    measure({each})" for each in (9.0, *seconds))
        return f"def test_measured(measure):{lines}"  # the first is the one after the boot

    run(project, repeats(1.0, 1.1, 0.9, 1.5, 1.6), "--xen-results=earlier.jsonl")
    gate = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%")
    result = run(project, repeats(1.4, 1.3, 0.95, 1.05, 1.7), *gate)
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "*= --xen-fail-if: not held against this run =*",
        "within noise: measured *: destroy median: 1.10 then, 1.30 s now: 18.2% more*",
    ])  # fmt: skip
    result = run(project, repeats(1.7, 1.8, 1.75, 1.9, 1.65), *gate)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["worse: measured *more than noise: 5 and 5 repeats*"])


def test_a_regression_is_seen_with_workers(project: pytest.Pytester) -> None:
    compare = earlier(project)
    project.makepyfile(test_it=MEASURES.replace("1.25", "2.5"))
    limit = "--xen-fail-if=destroy:median:10%"
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT)
    result = project.runpytest_subprocess(HOST, compare, limit, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["worse: measured *", "*1 passed*"])


def test_a_gate_that_compared_nothing_because_the_host_was_lost_is_not_a_failure(
    project: pytest.Pytester,
) -> None:
    test = """
        from pytest_xenscrub.errors import HostLostError

        def test_measured(measure): raise HostLostError("no connection")
    """
    result = run(project, test, earlier(project), "--xen-fail-if=destroy:median:10%")
    result.assert_outcomes(errors=1)
    assert result.ret == INFRASTRUCTURE_STATUS
    slower = MEASURES.replace("1.25", "9.25") + "    raise OSError('later')"
    result = run(project, slower, "--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:max:10%")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(timings): pass",  # measures nothing
        MEASURES.replace("test_measured", "test_new"),
        "import pytest\ndef test_it(measure): pytest.skip('no tool')",
    ],
)
@pytest.mark.parametrize("terminal", [[], ["-p", "no:terminal"]])
def test_a_gate_that_compared_nothing_is_shut(
    project: pytest.Pytester, test: str, terminal: list[str]
) -> None:
    compare = earlier(project)
    result = run(project, test, compare, "--xen-fail-if=destroy:median:10%", *terminal)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if not terminal:
        result.stdout.fnmatch_lines(["*--xen-fail-if: failed*", "not compared: *"])


def test_collecting_is_no_run_that_could_get_worse(project: pytest.Pytester) -> None:
    compare = earlier(project)
    limit = "--xen-fail-if=destroy:median:10%"
    assert run(project, MEASURES, compare, limit, "--collect-only").ret == 0


@pytest.mark.parametrize("figure", ["NaN", "Infinity", '"1.25"', "true"])
def test_a_figure_that_is_no_number_opens_no_gate(project: pytest.Pytester, figure: str) -> None:
    run(project, MEASURES, "--xen-results=earlier.jsonl")
    file = project.path / "earlier.jsonl"
    file.write_text(file.read_text().replace('"destroy": 1.25', f'"destroy": {figure}'))
    limit = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%")
    result = run(project, MEASURES.replace("1.25", "9"), *limit)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*earlier.jsonl:1: no result*"])


def test_other_machines_are_not_compared(project: pytest.Pytester) -> None:
    compare = earlier(project)
    project.makeconftest(CONFTEST.replace('"a CPU"', '"another CPU"'))
    result = run(project, MEASURES, compare)
    assert result.ret == 0
    line = "not compared: CPU model of the host: a CPU then, another CPU now"
    result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*1.00x*")
    result = run(project, MEASURES, compare, "--xen-fail-if=destroy:median:10%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--xen-compare=none"], "*--xen-compare: */none: there is no such file*"),
        (["--xen-compare=test_it.py"], "*test_it.py:1: no result*"),
        (["--xen-fail-if=destroy:median:10%"], "*--xen-fail-if needs an earlier run*"),
        (["--xen-fail-if=destroy:10%"], "*--xen-fail-if: 'destroy:10%' is not a limit*"),
    ],
)
def test_what_cannot_be_compared_with_is_a_usage_error(
    project: pytest.Pytester, arguments: list[str], said: str
) -> None:
    result = run(project, MEASURES, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert starts(project) == []


def test_a_control_that_is_not_to_fail_is_no_fault_of_xens(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "--xen-control", "--runxfail")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --xen-control has tests that must fail*"])


def test_the_first_measurement_after_a_boot_is_marked(project: pytest.Pytester) -> None:
    test = """
        def test_one(measure): measure(); measure()
        def test_two(measure): measure()
        def test_after_a_break(managed_host, measure): pass
        def test_breaks(managed_host): managed_host.broke("it hangs")
        def test_after(measure): measure()
    """
    run(project, test, "--xen-results=r")
    rows = rows_in(project.path / "r")
    assert [(row["id"].split("::")[1], row["first_after_boot"]) for row in rows] == [
        ("test_one#0", True), ("test_one#1", False), ("test_two#0", False), ("test_after#0", True),
    ]  # fmt: skip


def test_a_result_says_where_it_comes_from(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--xen-results=r")
    (row,) = rows_in(project.path / "r")
    known = ("host", "kind", "xen", "build_id", "total_bytes", "cpus", "cpu_model")
    assert [row[key] for key in known] == [
        "emulated", "emulated (TCG)", "4.17.5", "c0ffee", 4 << 30, 2, "a CPU",
    ]  # fmt: skip
    assert (row["toolstack"], row["toolstack_version"]) == ("xl", "1.2.3")
    assert re.fullmatch(r"\d+ x .+", row["emulated_on"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", row["started"])
    assert row["version"]
    assert row["series"] == {"free_bytes": [], "state": [], "backlog_pages": []}


# -- the table ---------------------------------------------------------------------------------


def test_the_table_has_a_title_and_units(project: pytest.Pytester) -> None:
    result = run(project, MEASURES)
    result.stdout.fnmatch_lines(
        [
            "*= memory of destroyed guests =*",
            "emulated: emulated (TCG), Xen 4.17.5 debug=n (as-is), build id c0ffee",
            "times in s*",
            "test * destroy * verdict",
            "measured * 1.25 * clean",
        ]
    )


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_profiles_and_charts_are_made_from_rows_of_workers_too(
    project: pytest.Pytester, workers: list[str]
) -> None:
    project.makepyfile(test_it=SAMPLED)
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT)
    result = project.runpytest_subprocess(
        HOST, *workers, "--xen-profile=folded", "--xen-plots=charts"
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([
        "*CPU profile of destroys*",
        "clear_page_sse2 *100.0% *1250.0",
        "as-is: names of Xen's functions are from xen-syms",
        "2 files with charts are in *charts",
    ])  # fmt: skip
    assert {path.name for path in (project.path / "charts").iterdir()} == {
        "exposure.png", "exposure.svg",
    }  # fmt: skip
    (folded,) = (project.path / "folded").iterdir()
    assert folded.read_text().splitlines()[0] == "destroy;Xen;clear_page_sse2 25"


def test_q_is_the_table_without_its_title(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "-q")
    result.stdout.fnmatch_lines(["measured * 1.25 * clean"])
    result.stdout.no_fnmatch_line("*memory of destroyed guests*")
    result.stdout.no_fnmatch_line("times in s*")


def test_qq_is_no_table(project: pytest.Pytester) -> None:
    result = run(project, MEASURES, "-qq")
    assert result.ret == 0
    assert "1.25" not in result.stdout.str()


def test_nothing_measured_is_no_table(project: pytest.Pytester) -> None:
    result = run(project, "def test_it(timings): pass")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*memory of destroyed guests*")


def test_rows_of_tests_that_fail_are_in_the_table(project: pytest.Pytester) -> None:
    test = """
        def test_leaks(measure):
            measure(2.5, "residue")
            assert False
    """
    result = run(project, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["leaks * 2.50 * RESIDUE"])


def test_rows_reach_junit(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--junit-xml=junit.xml")
    tree = ET.parse(project.path / "junit.xml")  # noqa: S314 - we have just written it
    found = {p.get("name"): p.get("value") for p in tree.iter("property")}
    assert found["xen[0].destroy"] == "1.25"
    assert found["xen[0].verdict"] == "clean"
    assert found["xen[0].host"] == "emulated"


def test_rows_are_in_the_results_file(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--xen-results=results.jsonl")
    (row,) = rows_in(project.path / "results.jsonl")
    assert row["destroy"] == 1.25
    assert row["id"] == "test_it.py::test_measured#0"


def test_rows_of_all_workers_are_in_the_table_junit_and_results(
    project: pytest.Pytester,
) -> None:
    test = """
        import os, time, pytest
        from pathlib import Path

        @pytest.mark.parametrize("n", range(2))
        def test_measured(measure, n):
            worker = os.environ["PYTEST_XDIST_WORKER"]
            Path(worker).touch()
            end = time.monotonic() + 20
            while len(list(Path().glob("gw*"))) < 2 and time.monotonic() < end:
                time.sleep(0.02)
            measure(int(worker[2:]) + 1.25)
    """
    project.makepyfile(test_it=test)
    result = project.runpytest_subprocess(
        HOST, "-n2", "--junit-xml=junit.xml", "--xen-results=results.jsonl"
    )
    result.assert_outcomes(passed=2)
    text = result.stdout.str()
    for destroy in ("1.25", "2.25"):
        assert re.search(rf"^measured\[\d\] .* {destroy} ", text, re.MULTILINE)
        assert (
            f'name="xen[0].destroy" value="{destroy}"' in (project.path / "junit.xml").read_text()
        )
        assert f'"destroy": {destroy}' in (project.path / "results.jsonl").read_text()
    assert text.count("memory of destroyed guests") == 1


# -- for CI ------------------------------------------------------------------------------------

OUTCOMES = """
    import pytest
    from pytest_xenscrub.errors import *

    @pytest.fixture
    def late():
        yield
        raise XenFaultError("Xen panicked")

    def test_measured(measure): measure()
    def test_passed(xen_host): pass
    def test_leak(xen_host): assert False, "RESIDUE"
    def test_panic(xen_host): raise XenFaultError("Xen panicked")
    def test_late(xen_host, late): pass
    def test_lost(xen_host): raise InfrastructureError("no connection")
    def test_elsewhere(): raise InfrastructureError("no connection")
    def test_plain(request): request.getfixturevalue("nothing")
    @pytest.fixture
    def breaks(): raise ValueError
    def test_not_ours(breaks): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)])
@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        ("measured", 0),
        ("passed", INFRASTRUCTURE_STATUS),
        ("passed or lost or elsewhere", INFRASTRUCTURE_STATUS),
        ("leak or lost", 1),
        ("panic", 1),
        ("late", 1),
        ("not_ours", 1),
    ],
)
def test_the_exit_status_tells_a_leak_from_broken_infrastructure(
    project: pytest.Pytester, workers: tuple[str, ...], chosen: str, status: int
) -> None:
    if not workers:
        assert run(project, OUTCOMES, "-k", chosen).ret == status
    elif chosen in ("leak or lost", "passed or lost or elsewhere"):  # the others are no different
        project.makepyfile(test_it=OUTCOMES)
        assert project.runpytest_subprocess(HOST, "-k", chosen, *workers).ret == status


def test_junit_tells_host_and_fault(project: pytest.Pytester) -> None:
    run(project, OUTCOMES, "--junit-xml=junit.xml")
    tree = ET.parse(project.path / "junit.xml")  # noqa: S314 - we have just written it
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in tree.iter("testcase")
    }
    assert found["test_passed"] == {"xen.host": "emulated"}
    assert found["test_leak"] == {"xen.host": "emulated", "xen.fault": "xen"}
    assert found["test_lost"] == {"xen.host": "emulated", "xen.fault": "infrastructure"}
    assert found["test_not_ours"] == {}


def test_logs_are_named_in_junit(project: pytest.Pytester) -> None:
    test = """
        def test_failed(xen_host, managed_host, _xen_session, request):
            xen_host.serial_tail = lambda lines: "(XEN) serial"
            managed_host.up.dom0.xen_log = lambda lines: "(XEN) log"
            _xen_session.logs.console(request.node.nodeid, "victim-1", b"one ")
            _xen_session.logs.console(request.node.nodeid, "victim-1", b"two")
            assert False

        def test_silent(xen_host): pass
    """
    old = project.path / "logs" / "test_it.py_test_failed" / "old.console"
    old.parent.mkdir(parents=True)
    old.touch()
    run(project, test, "--xen-logs=logs", "--junit-xml=junit.xml")
    texts = {path.name: path.read_text() for path in old.parent.iterdir()}
    assert texts == {
        "victim-1.console": "one two", "serial.log": "(XEN) serial", "xen.log": "(XEN) log"
    }  # fmt: skip
    tree = ET.parse(project.path / "junit.xml")  # noqa: S314 - we have just written it
    said = {case.get("name"): case.findtext("system-out") for case in tree.iter("testcase")}
    lines = [f"[[ATTACHMENT|logs/test_it.py_test_failed/{name}]]" for name in sorted(texts)]
    assert said == {"test_failed": "\n".join(lines), "test_silent": None}


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


# -- the control -------------------------------------------------------------------------------

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


# -- its end -----------------------------------------------------------------------------------


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
    project.makepyfile(test_it=test)
    process = project.popen(
        [sys.executable, "-m", "pytest", HOST],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
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
    project.makepyfile(test_it=test)
    process = project.popen(
        [sys.executable, "-m", "pytest", HOST],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
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
    project.makepyfile(test_it=test)
    process = project.popen(
        [sys.executable, "-m", "pytest", HOST, "-n2"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    for worker in ("gw0", "gw1"):
        wait_for(project.path / f"hangs-{worker}", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert {path.name for path in project.path.glob("torn-down-*")} == {
        "torn-down-gw0",
        "torn-down-gw1",
    }


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


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
