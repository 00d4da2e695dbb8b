# SPDX-License-Identifier: MIT
"""A run's table, and what it writes for CI."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from faked_run import CONFTEST, HOST, MEASURES, NOTHING_IS_BUILT, SAMPLED, rows_in, run
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS

pytestmark = pytest.mark.usefixtures("faked_host")


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
