# SPDX-License-Identifier: MIT
"""The exit status and the last line of a run: what they say is what was proven."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from faked_run import (
    CONFTEST,
    HOST,
    MEASURES,
    NOTHING_IS_BUILT,
    run,
    starts,
)
from pytest_xenscrub.errors import (
    DisagreementError,
    Fault,
    InfrastructureError,
    UndecidedError,
    XenFaultError,
)
from pytest_xenscrub.report.judged import Proof, SampledRun
from pytest_xenscrub.report.results import read_results
from pytest_xenscrub.run import blame, preflight
from pytest_xenscrub.run.ending import NOTHING_JUDGED

pytestmark = pytest.mark.usefixtures("faked_host")

BISECT = "--xen-exit=bisect"
# A probe's verdict, as `probe.read` notes it.
JUDGES = """
import pytest
from types import SimpleNamespace

@pytest.fixture
def judge(request, measure, _xen_session):
    def judge(frames=1000, read=1000, state="clean", sampled=None):
        measure()
        verdict = SimpleNamespace(
            state=state, covered=set(range(read)), coverage=read / frames, sampled=sampled,
        )
        _xen_session.judged(request.node, 0, verdict)
    return judge
"""


# -- whose fault -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "phase", "fault"),
    [
        (AssertionError("RESIDUE"), "call", Fault.XEN),
        (AssertionError("a fixture's"), "setup", Fault.INFRASTRUCTURE),
        (AssertionError("a fixture's"), "teardown", Fault.INFRASTRUCTURE),
        (KeyError("a test's own mistake"), "call", Fault.INFRASTRUCTURE),
        (OSError("disk full"), "call", Fault.INFRASTRUCTURE),
        (XenFaultError("panic"), "setup", Fault.XEN),
        (InfrastructureError("no network"), "call", Fault.INFRASTRUCTURE),
        (UndecidedError("hangs, or is slow"), "call", Fault.UNKNOWN),
        (DisagreementError("probe against RAM"), "call", Fault.INFRASTRUCTURE),
        (ExceptionGroup("two", [OSError(), XenFaultError("panic")]), "teardown", Fault.XEN),
        (ExceptionGroup("two", [OSError(), UndecidedError("slow")]), "teardown", Fault.UNKNOWN),
    ],
)
def test_the_fault_of_an_error(error: Exception, phase: str, fault: Fault) -> None:
    assert blame.fault_of(error, phase) is fault


def test_a_test_that_exceeds_its_limit_is_of_unknown_fault(
    project: pytest.Pytester,
) -> None:
    test = """
        import pytest, time

        @pytest.mark.timeout(0.3, func_only=True)
        def test_slow(xen_host): time.sleep(5)
    """
    result = run(project, test, "--junit-xml=junit.xml")
    result.assert_outcomes(errors=1)
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    result.stdout.fnmatch_lines(["*xen.fault: unknown*", "what would tell: *"])
    assert 'name="xen.fault" value="unknown"' in (project.path / "junit.xml").read_text()


def test_a_test_that_fails_twice_has_its_worst_fault_in_junit(project: pytest.Pytester) -> None:
    test = """
        import pytest
        from pytest_xenscrub.errors import InfrastructureError

        @pytest.fixture
        def late(xen_host):
            yield
            raise InfrastructureError("no connection")

        def test_leak(late): assert False, "RESIDUE"
    """
    assert run(project, test, "--junit-xml=junit.xml").ret == 1
    text = (project.path / "junit.xml").read_text()
    assert 'name="xen.fault" value="xen"' in text
    assert 'value="infrastructure"' not in text


def test_a_worker_that_dies_is_no_fault_of_xens(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="import os\ndef test_dies(xen_host): os._exit(3)")
    result = project.runpytest_subprocess(HOST, "-n1", "--max-worker-restart=0")
    assert result.ret == blame.INFRASTRUCTURE_STATUS


@pytest.mark.parametrize(
    ("state", "said", "fault"),
    [
        ("unproven", "UNPROVEN: too little was read", "unknown"),
        ("unproven", "the guest came back too late", "xen"),
        ("clean", "UNPROVEN: of something else", "xen"),
    ],
)
def test_an_unproven_verdict_is_of_unknown_fault(
    project: pytest.Pytester, state: str, said: str, fault: str
) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    test = f"def test_it(judge):\n    judge(100, 50, {state!r})\n    assert False, {said!r}"
    result = run(project, test, "--junit-xml=junit.xml")
    assert result.ret == (1 if fault == "xen" else 75)
    assert f'name="xen.fault" value="{fault}"' in (project.path / "junit.xml").read_text()


@pytest.mark.parametrize("error", ["InfrastructureError", "NotApplicableError", "UndecidedError"])
def test_no_later_error_takes_residue_back(project: pytest.Pytester, error: str) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    test = f"""
        from pytest_xenscrub.errors import *

        def test_it(judge):
            judge(100, 100, "residue")
            raise {error}("the connection was lost")
    """
    result = run(project, test)
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*a probe of this test had seen residue before this error*"])
    assert result.outlines[-1].startswith("judged 1 of 1 scenarios")


ENDS_GREEN = """
    import pytest
    from pytest_xenscrub.errors import InfrastructureError

    def test_no_assertion(judge): judge(state="residue")

    @pytest.mark.xfail(strict=True)
    def test_xfail(judge):
        judge(state="residue")
        assert False, "RESIDUE"

    def test_calls_xfail(judge):
        judge(state="residue")
        pytest.xfail("known")

    def test_skip(judge):
        judge(state="residue")
        pytest.skip("no more memory")

    @pytest.fixture
    def looks(judge):
        judge(state="residue")
        pytest.skip("no more memory")

    def test_fixture(looks): pass

    @pytest.fixture
    def looks_late(judge):
        yield
        judge(state="residue")

    def test_teardown(looks_late): pass
"""


@pytest.mark.parametrize(
    "chosen", ["no_assertion", "test_xfail", "calls_xfail", "skip", "fixture", "teardown"]
)
def test_no_test_that_saw_residue_ends_green(project: pytest.Pytester, chosen: str) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    result = run(project, ENDS_GREEN, "-k", chosen)
    if chosen == "teardown":
        result.assert_outcomes(passed=1, errors=1)
    else:
        result.assert_outcomes(failed=1)
    assert result.ret == 1
    assert result.outlines[-1].endswith("; RESIDUE in 1")
    assert run(project, ENDS_GREEN, "-k", chosen, BISECT).ret == 1


def test_residue_is_told_however_the_run_is_cut_short(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    cut = [
        "pytest.exit('enough', returncode=0)",
        "pytest.exit('enough')",
        "raise KeyboardInterrupt",
    ]
    for end in cut:
        test = f"import pytest\ndef test_it(judge):\n    judge(state='residue')\n    {end}"
        project.makepyfile(test_it=test)
        result = project.runpytest_subprocess(HOST, "-p", "no:cacheprovider")
        assert result.ret == 1
        result.stdout.fnmatch_lines(["judged 1 of 1 scenarios*; RESIDUE in 1"])
        assert project.runpytest_subprocess(HOST, BISECT).ret == blame.BISECT_STOP


def test_residue_outlives_the_worker_that_saw_it(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + JUDGES + NOTHING_IS_BUILT)
    project.makepyfile(
        test_it="import os\ndef test_it(judge):\n    judge(state='residue')\n    os._exit(3)"
    )
    result = project.runpytest_subprocess(HOST, "-n1", "--max-worker-restart=0")
    assert result.ret == 1
    assert result.outlines[-1].endswith("; RESIDUE in 1")


def test_residue_stays_where_another_plugin_repeats_the_test(project: pytest.Pytester) -> None:
    repeats = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as pytest-rerunfailures does
    for attempt in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if report.failed and not attempt:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True

def pytest_report_teststatus(report):
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None
"""
    project.makeconftest(CONFTEST + JUDGES + repeats)
    test = """
        STATES = ["clean", "residue"]

        def test_it(judge):
            state = STATES.pop()
            judge(state=state)
            assert state == "clean", "RESIDUE"
    """
    result = run(project, test)
    result.assert_outcomes(failed=1)
    assert result.ret == 1


def test_only_the_suites_own_xfail_excuses_residue(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    monkeypatch.setattr(blame, "_SUITE", project.path)
    result = run(project, ENDS_GREEN, "-k", "test_xfail or calls_xfail")
    result.assert_outcomes(xfailed=1, failed=1)
    result = run(project, ENDS_GREEN, "-k", "test_xfail", "--runxfail")
    result.assert_outcomes(failed=1)
    assert result.ret == 1


# -- a run that judged nothing -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("def test_it(xen_host): pass", "1 passed (nothing measured)"),
        ("import pytest\ndef test_it(xen_host): pytest.skip('no NUMA')", "1 skipped (no NUMA)"),
        (
            "import pytest\n@pytest.mark.xfail(reason='flaky')\n"
            "def test_it(measure):\n    measure()\n    assert False, 'UNPROVEN'",
            "1 xfailed (flaky)",
        ),
        (
            "import pytest\n@pytest.mark.xen_host_tags('numa')\ndef test_it(xen_host): pass",
            "1 skipped (emulated has no numa)",
        ),
    ],
)
@pytest.mark.parametrize("verbosity", ["-v", "-q"])
def test_a_run_that_judged_nothing_is_not_green(
    project: pytest.Pytester, test: str, why: str, verbosity: str
) -> None:
    result = run(project, test, verbosity)
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    assert result.outlines[-2:] == [
        f"exit status 75: {NOTHING_JUDGED}",
        f"judged 0 of 1 scenarios, 0 frames (0 MiB) read; not judged: {why}",
    ]


def test_tests_without_a_host_do_not_make_a_run_green_that_was_asked_for_one(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(project, "def test_it(): pass")
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    result.stdout.fnmatch_lines(["exit status 75: *pytest --pyargs pytest_xenscrub.suite"])
    monkeypatch.setenv("PYTEST_XEN_VARIANT", "stock")  # without any host
    assert project.runpytest_inprocess().ret == blame.INFRASTRUCTURE_STATUS
    monkeypatch.delenv("PYTEST_XEN_VARIANT")
    # An ini file serves other runs of the project too.
    project.makeini("[pytest]\nxen_host = emulated")
    assert project.runpytest_inprocess().ret == 0


def test_no_tests_and_wrong_usage_keep_pytests_own_status(project: pytest.Pytester) -> None:
    assert run(project, MEASURES, "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert run(project, MEASURES, "no/such/path").ret == pytest.ExitCode.USAGE_ERROR


# -- what was proven ---------------------------------------------------------------------------

PROVEN = """
    from pytest_xenscrub.errors import *

    def test_one(judge): judge(1000, 999)
    def test_two(judge): judge(3000, 2999)
    def test_measured(measure): measure()
    def test_lost(xen_host): raise InfrastructureError("no connection")
    def test_numa(xen_host): raise NotApplicableError("one node only")
    def test_node(xen_host): raise NotApplicableError("one node only")
    def test_nothing(xen_host): pass
    def test_unit(): pass
"""
LINE = (
    "judged 3 of 7 scenarios, 3998 frames (16 MiB) read, coverage ≥ 99.90 %; not judged:"
    " 2 skipped (one node only), 1 errors (no connection), 1 passed (nothing measured)"
)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_the_last_line_says_what_was_proven(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    project.makeconftest(CONFTEST + JUDGES + NOTHING_IS_BUILT)
    project.makepyfile(test_it=PROVEN)
    files = ("--xen-results=results.jsonl", "--junit-xml=junit.xml")
    result = project.runpytest_subprocess(HOST, *files, *workers)
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    groups = sorted(result.outlines[-1].partition("not judged: ")[2].split(", "))
    assert groups == sorted(LINE.partition("not judged: ")[2].split(", "))
    assert result.outlines[-1].partition("; ")[0] == LINE.partition("; ")[0]
    *_, last = (project.path / "results.jsonl").read_text().splitlines()
    told = json.loads(last)["run"]
    assert (told["judged"], told["scenarios"], told["frames_read"]) == (3, 7, 3998)
    assert told["status"] == blame.INFRASTRUCTURE_STATUS
    assert told["not_judged"]["skipped (one node only)"] == 2
    assert len(read_results(project.path / "results.jsonl")) == 3
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")  # noqa: S314
    assert suite is not None
    found = {p.get("name"): p.get("value") for p in suite.findall("./properties/property")}
    assert found["xen.judged"] == "3"
    assert found["xen.scenarios"] == "7"


def test_the_last_line_says_what_was_filled_of_samples(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    test = """
        from pytest_xenscrub.scrub.sampled import Sampled

        def test_it(judge):
            judge(6000, 6000, sampled=Sampled(6000, 96000, 6000))

        def test_worse(judge):
            judge(2000, 2000, sampled=Sampled(2000, 32000, 2000))
    """
    files = ("--xen-results=results.jsonl", "--junit-xml=junit.xml")
    result = run(project, test, "--xen-fill=1/16:5eed", *files)
    assert result.ret == 0
    assert result.outlines[-1] == (
        "judged 2 of 2 scenarios, 8000 frames (31 MiB) read, coverage ≥ 100.00 %; a sample of"
        " 6.2500% was filled (31 MiB), and leaks of 0.6884% of the pages are found with 99.9%"
        " certainty"
    )
    row, *_, last = (project.path / "results.jsonl").read_text().splitlines()
    told = json.loads(last)["run"]
    assert (told["filled_bytes"], told["filled_share"]) == (8000 * 4096, 0.0625)
    assert Proof.of(told).sampled == SampledRun(8000 * 4096, 0.0625, 1 - 0.001 ** (1 / 1000))
    assert (json.loads(row)["fill_share"], json.loads(row)["fill_seed"]) == (0.0625, "5eed")
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")  # noqa: S314
    assert suite is not None
    found = {p.get("name"): p.get("value") for p in suite.findall("./properties/property")}
    assert found["xen.filled_bytes"] == str(8000 * 4096)
    assert found["xen.filled_share"] == "0.0625"


def test_a_leak_is_judged_and_a_control_is_no_scenario(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    test = """
        import pytest

        @pytest.mark.control
        def test_leaks(judge):
            judge(100, 100, "residue")
            assert False, "RESIDUE"
    """
    result = run(project, test, "--xen-control", "--xen-variant=stock")
    result.assert_outcomes(xfailed=1, failed=1)
    assert result.ret == 1
    assert result.outlines[-1].startswith("judged 1 of 1 scenarios, 100 frames (0 MiB) read")


def test_qq_is_silent_and_what_has_no_host_says_nothing(project: pytest.Pytester) -> None:
    assert "judged" not in run(project, MEASURES, "-qq").stdout.str()
    project.makepyfile(test_it="def test_it(): pass")
    result = project.runpytest_inprocess("--junit-xml=junit.xml")
    assert result.ret == 0
    assert "judged" not in result.stdout.str() + (project.path / "junit.xml").read_text()


def test_a_figure_of_a_tests_own_is_a_measurement(project: pytest.Pytester) -> None:
    test = "def test_it(xen_host, record_property): record_property('xen.measured', 7)"
    result = run(project, test)
    assert result.ret == 0
    assert result.outlines[-1] == "judged 1 of 1 scenarios, 0 frames (0 MiB) read"


def test_what_did_not_run_is_not_judged(project: pytest.Pytester) -> None:
    test = """
        def test_leak(xen_host): assert False
        def test_other(xen_host): pass
    """
    result = run(project, test, "-x")
    assert result.ret == 1
    assert result.outlines[-1].endswith("not judged: 1 not run")


# -- before any host ---------------------------------------------------------------------------


@pytest.fixture
def bare(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A machine with Python alone."""
    monkeypatch.setenv("PATH", str(project.mkdir("bin")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(project.path / "cache"))
    project.makeconftest(CONFTEST.replace("preflight.check =", "_ ="))
    return project


EVERYTHING = (
    "--xen-toolstack=libvirt", "--xen-variant=sync", "--xen-variant=p.patch", "--xen-tools=build",
)  # fmt: skip


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_all_that_is_missing_is_told_at_once_before_any_host(
    bare: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    bare.makepyfile(test_it="def test_it(toolstack, xen_host): pass\ndef test_2(xen_host): pass")
    (bare.path / "p.patch").write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    (bare.mkdir("libvirt") / "__init__.py").write_text("raise ImportError('no libvirt.so.0')")
    bare.makeconftest(
        (bare.path / "conftest.py").read_text() + "\nimport sys; sys.path[:0] = ['.']"
    )
    result = bare.runpytest_subprocess(HOST, *EVERYTHING, *workers)
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    said = "\n".join(result.errlines)
    assert said.count("ERROR") == 1
    (command,) = [line for line in result.errlines if "next:" in line]
    packages = (
        "bison coccinelle dpkg-dev flex gcc libvirt-dev make mmdebstrap openssh-client patch"
        " pkg-config qemu-system-x86 qemu-utils util-linux"
    )
    # Xen's tools are built with the system's programs, whatever PATH is.
    tools = {"iasl": "acpica-tools", "autoconf": "autoconf"}
    lacking = {pkg for name, pkg in tools.items() if not Path("/usr/bin", name).exists()}
    assert set(packages.split()) | lacking <= set(command.split())
    assert command.endswith("&& pip install 'pytest-xenscrub[libvirt]'")
    assert starts(bare) == []


def test_only_what_is_needed_is_asked_for(bare: pytest.Pytester) -> None:
    bare.makepyfile(test_it="def test_it(xen_host): pass\ndef test_unit(): pass")
    result = bare.runpytest_subprocess("--xen-host=root@lab7")
    assert result.ret == blame.INFRASTRUCTURE_STATUS
    said = "\n".join(result.errlines)
    assert "openssh-client" in said
    assert "qemu" not in said
    assert "mmdebstrap" not in said
    assert "coccinelle" not in said
    for arguments in (("--collect-only",), ("--help",)):
        assert bare.runpytest_subprocess(HOST, *arguments).ret == 0
    # Where no test asks for a host, nothing is needed; that nothing was judged is another matter.
    result = bare.runpytest_subprocess(HOST, "-k", "unit")
    assert "apt-get" not in "\n".join(result.errlines)


def test_what_is_in_the_cache_needs_nothing_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_xenscrub.guest import build  # noqa: PLC0415
    from pytest_xenscrub.guest.compile import digest  # noqa: PLC0415
    from pytest_xenscrub.host.emulated import image, image_recipe  # noqa: PLC0415

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(image, "search_path", lambda: "")
    assert "mmdebstrap" in image.missing_for_image("bookworm")
    (
        tmp_path / "pytest-xenscrub" / "image" / f"bookworm-{image_recipe.recipe_hash('bookworm')}"
    ).mkdir(parents=True)
    assert image.missing_for_image("bookworm") == {}
    assert "gcc" in build.missing_for_kernel()
    kept = tmp_path / "pytest-xenscrub" / "guest" / f"{digest()}-0" / build.KERNEL
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert build.missing_for_kernel() == {}
    assert build.build_kernel() == kept


def test_preflight_is_silent_where_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(preflight, "_lacking", lambda *_: ({}, ""))
    preflight.check(preflight.Wanted("bookworm", ["stock"], ["xl"]), None)  # type: ignore[arg-type]


# -- no path -----------------------------------------------------------------------------------


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest_subprocess("--collect-only", "-q", *arguments)
    return [line for line in result.outlines if "::" in line]


def test_without_tests_of_its_own_a_folder_runs_the_suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.mkdir("docs") / "notes.py").touch()
    found = collected(pytester, HOST, "-m", "quick")
    assert any("::test_destroyed_guest_leaves_nothing" in line for line in found)
    assert len(found) >= 18
    assert collected(pytester) == []
    monkeypatch.setenv("PYTEST_XEN_HOST", "emulated")
    assert collected(pytester, "-m", "quick") == found
    assert collected(pytester, "docs") == []


def test_what_only_pvh_guests_have_is_for_pvh_victims(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("docs") / "notes.py").touch()
    pv, pvh = "--xen-guest-type=pv", "--xen-guest-type=pvh"
    ids = [collected(pytester, HOST, *types) for types in ([pv], [pvh], [pv, pvh])]
    on_demand = [[line for line in found if "test_on_demand" in line] for found in ids]
    assert on_demand[0] == []
    assert len(on_demand[1]) == len(on_demand[2]) > 0
    assert all("[pvh" in line for line in on_demand[2])


def test_what_only_some_types_of_guest_have_is_for_these(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("docs") / "notes.py").touch()
    found = collected(pytester, HOST, *(f"--xen-guest-type={each}" for each in ("pvh", "hvm")))
    ids = ["device_model", "test_paging_pool"]
    device_models, pools = ([line for line in found if each in line] for each in ids)
    assert device_models
    assert all("[hvm" in line for line in device_models)
    assert {line.partition("[")[2][:3] for line in pools} == {"pvh", "hvm"}


def test_a_projects_own_tests_stay_its_tests(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("checks") / "test_own.py").write_text("def test_it(): pass")
    assert collected(pytester, HOST) == ["checks/test_own.py::test_it"]
    pytester.makeini("[pytest]\ntestpaths = checks")
    assert collected(pytester, HOST) == ["checks/test_own.py::test_it"]
    # What pytest does not look into counts as little as it does for pytest.
    (pytester.path / "checks").rename(pytester.path / "build")
    assert any("::test_destroyed_guest" in line for line in collected(pytester, HOST))


def test_in_a_checkout_a_host_means_the_suite(pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "quick", HOST]
    done = subprocess.run(
        command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False
    )
    assert "tests/scrub/test_destroy.py::test_destroyed_guest_leaves_nothing" in done.stdout
    assert "tests/unit" not in done.stdout


# -- git bisect run ----------------------------------------------------------------------------

BISECTED = """
    import os
    from pathlib import Path
    from pytest_xenscrub.errors import *

    def test_leaves_nothing(measure):
        source = Path(os.environ["SOURCE"]).read_text().split()[0]
        if source == "network":
            raise InfrastructureError("no connection")
        if source == "slow":
            raise UndecidedError("hangs, or is slow")
        if source == "skip":
            raise NotApplicableError("no page to scrub")
        measure()
        assert source != "leaks", "RESIDUE"
"""


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("scrubs", 0), ("leaks", 1), ("network", 125), ("slow", 125), ("skip", 125),
    ],
)  # fmt: skip
def test_each_end_of_a_run_tells_bisect_what_it_is(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, status: int
) -> None:
    (project.path / "scrub.c").write_text(source)
    monkeypatch.setenv("SOURCE", "scrub.c")
    assert run(project, BISECTED, BISECT).ret == status


@pytest.mark.parametrize(
    "arguments",
    [
        ("--xen-host=lab;7",),
        ("no/such/path",),
        ("-k", "nothing"),
        ("--xen-variant=no-such",),
        ("--xen-power=echo",),
    ],
)
def test_what_cannot_be_run_is_skipped_by_bisect(
    project: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    assert run(project, MEASURES, BISECT, *arguments).ret == blame.BISECT_SKIP


def test_bisect_stops_where_the_user_stops_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="import os, signal\n"
        # What runs in a shell's background has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def test_it(): os.kill(os.getpid(), signal.SIGINT)"
    )
    assert project.runpytest_subprocess(BISECT).ret == blame.BISECT_STOP
    project.makepyfile(
        test_it="import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert project.runpytest_subprocess(BISECT).ret == blame.BISECT_STOP
    assert project.runpytest_subprocess("-x", BISECT, "missing").ret == blame.BISECT_SKIP


def test_a_figure_that_got_worse_is_bad(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--xen-results=earlier.jsonl")
    compare = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%", BISECT)
    assert run(project, MEASURES, *compare).ret == 0
    assert run(project, MEASURES.replace("1.25", "2"), *compare).ret == 1
    other = MEASURES.replace("test_measured", "test_new")  # nothing to compare
    assert run(project, other, *compare).ret == blame.BISECT_SKIP


def test_git_bisect_finds_the_commit_that_breaks_the_scrubber(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_it=BISECTED)
    source = project.mkdir("xen") / "scrub.c"
    monkeypatch.setenv("SOURCE", str(source))

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(source.parent), *identity, *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    git("init", "-q")
    states = ["scrubs", "scrubs", "network", "scrubs", "leaks", "leaks", "skip", "leaks"]
    for number, state in enumerate(states, 1):
        source.write_text(f"{state} {number}\n")
        git("add", ".")
        git("commit", "-qm", f"commit {number}")
    git("bisect", "start", "HEAD", "HEAD~7")
    command = ["-p", "no:cacheprovider", "-q", HOST, BISECT, "-c", "../tox.ini", "../test_it.py"]
    found = git("bisect", "run", sys.executable, "-m", "pytest", *command)
    assert "is the first bad commit" in found
    assert "commit 5" in found.partition("is the first bad commit")[2]


READS = """
from pyroaring import BitMap64
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.scrub.verdict import Verdict

FRAMES = BitMap64(range(100))

@pytest.fixture
def guests():
    return SimpleNamespace(
        most_bytes=lambda guest_type: 0, names={}, run=1, knows_frames=True, guests={},
    )

@pytest.fixture
def read(probe, monkeypatch):
    def read(clean, dirty):
        verdict = Verdict(FRAMES, BitMap64(range(clean)), BitMap64(range(clean, clean + dirty)))
        monkeypatch.setattr(probe, "_see", lambda *_: verdict)
        return probe.read(FRAMES)
    return read

class Full:
    yes = False

def pytest_xenscrub_row(row):
    if Full.yes:
        raise InfrastructureError("a result could not be written")
"""


@pytest.mark.parametrize(("dirty", "status"), [(1, 1), (0, 75)])
def test_a_disk_that_is_full_takes_no_residue_back(
    project: pytest.Pytester, dirty: int, status: int
) -> None:
    project.makeconftest(CONFTEST + READS)
    test = f"""
        from conftest import Full

        def test_it(measure, read):
            row = measure()
            row.verdict = None
            Full.yes = True
            read(99, {dirty})
    """
    result = run(project, test)
    assert result.ret == status
    said = result.outlines[-1]
    assert said.startswith(f"judged {int(status == 1)} of 1 scenarios")
    # Its row is in the table all the same.
    result.stdout.fnmatch_lines(["it *1.00 *"])


@pytest.mark.parametrize("asserts", ["assert verdict.clean", "assert verdict.clean, verdict"])
@pytest.mark.parametrize("plain", [(), ("--assert=plain",)])
def test_an_assertion_over_such_a_verdict_needs_no_message(
    project: pytest.Pytester, asserts: str, plain: tuple[str, ...]
) -> None:
    project.makeconftest(CONFTEST + JUDGES)
    project.makepyfile(
        test_it=f"""
        from pyroaring import BitMap64
        from pytest_xenscrub.scrub.verdict import Verdict

        def test_it(judge):
            judge(100, 50, "unproven")
            verdict = Verdict(BitMap64(range(100)), BitMap64(range(50)), BitMap64())
            {asserts}
    """
    )
    result = project.runpytest_subprocess(HOST, *plain)
    result.assert_outcomes(errors=1)
    assert result.ret == blame.INFRASTRUCTURE_STATUS
