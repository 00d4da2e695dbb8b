# SPDX-License-Identifier: MIT
"""`--xen-html`: the page of a run is there however the run ends, and says what became of it."""

from __future__ import annotations

import signal

import pytest

from faked_run import (
    CONFTEST,
    HOST,
    MEASURES,
    NOTHING_IS_BUILT,
    run,
    start,
    wait_for,
)

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
# Loaded now: numpy cannot be loaded again after a run of pytest in pytest has unloaded it.
from pages import Page

from pytest_xenscrub.report.export.prose import faults
from pytest_xenscrub.report.page import to_html
from pytest_xenscrub.report.plots import draw
from pytest_xenscrub.report.results import read_runs

from .test_status import JUDGES

__all__ = ["draw"]

pytestmark = pytest.mark.usefixtures("faked_host")

HTML = "--xen-html=page.html"
LEAKS = """
    import pytest

    def test_leaks(judge):
        judge(100, 100, "residue")
        assert False, "RESIDUE: 4 frames"

    def test_clean(judge): judge()
    def test_numa(xen_host): pytest.skip("no NUMA nodes")
"""
HANGS = """
    import signal, time
    from pathlib import Path

    def test_leaks(judge):
        # A shell starts what is in the background with Ctrl-C ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        judge(100, 100, "residue")
        Path("hangs").touch()
        time.sleep(60)

    def test_never(judge): judge()
"""
CONSOLE = """
    from pytest_xenscrub.errors import GuestFailedError

    EVIL = "<script>alert(1)</script><img src='http://example.org/x' onerror=alert(2)>"

    def test_evil(xen_host, managed_host, _xen_session, request):
        xen_host.serial_tail = lambda lines: EVIL
        managed_host.up.dom0.xen_log = lambda lines: ""
        name = "victim <1>"
        _xen_session.logs.console(request.node.nodeid, name, EVIL.encode())
        raise GuestFailedError(f"{name} failed", evidence={"console": EVIL + chr(0xDCFF)})
"""


def page_of(project: pytest.Pytester) -> Page:
    return Page((project.path / "page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_it_says_what_leaked_and_what_was_not_judged(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    project.makeconftest(CONFTEST + JUDGES + NOTHING_IS_BUILT)
    project.makepyfile(test_it=LEAKS)
    result = project.runpytest_subprocess(HOST, HTML, *workers)
    assert result.ret == 1
    assert f"all of it is in {project.path / 'page.html'}" in result.outlines
    page = page_of(project)
    words = [
        "RESIDUE: judged 2 of 3 scenarios", "RESIDUE in 1; not judged: 1 skipped", "exit status 1",
        "RESIDUE test_it.py::test_leaks", "RESIDUE: 4 frames", "Not judged, and why",
        "test_it.py::test_numa: skipped, no NUMA nodes", "no earlier run was given",
        "What was measured", "Machine, Xen, tools, command", f"{HOST} {HTML}", "toolstack",
    ]  # fmt: skip
    at = page.text.index("Memory of destroyed")
    for word in words:
        assert word in page.text[at:]
        at = page.text.index(word, at)


def test_it_is_there_after_ctrl_c_and_no_leak_is_lost(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + JUDGES + NOTHING_IS_BUILT)
    process = start(project, HANGS, HTML)
    wait_for(project.path / "hangs", process)
    assert "UNFINISHED" in page_of(project).text  # what a run that is killed leaves behind
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1, output
    text = page_of(project).text
    assert "RESIDUE: judged 1 of 2 scenarios" in text
    assert "RESIDUE test_it.py::test_leaks" in text
    assert "the run ended in the middle of it" in text
    assert "1.00" in text  # what the test measured before it was cut short


def test_an_older_page_is_not_taken_for_a_run_that_builds_nothing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, MEASURES, HTML)
    assert "clean: judged 1 of 1" in page_of(project).text
    monkeypatch.setattr("pytest_xenscrub.run.plan.Plan.build", _no_compiler)
    assert run(project, MEASURES, HTML).ret == 4
    assert "NOTHING JUDGED: judged 0 of 1 scenarios" in page_of(project).text


def _no_compiler(*_: object) -> None:
    from pytest_xenscrub.errors import ConfigurationError  # noqa: PLC0415 - as it is raised

    raise ConfigurationError("it does not compile")


def test_collecting_writes_none(project: pytest.Pytester) -> None:
    run(project, MEASURES, HTML, "--collect-only")
    run(project, MEASURES, HTML, "--setup-plan")
    assert not (project.path / "page.html").exists()


@pytest.mark.parametrize("arguments", [("-p", "no:terminal"), ("-qq",)])
def test_it_is_written_where_nothing_is_printed(
    project: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    run(project, MEASURES, HTML, *arguments)
    text = page_of(project).text
    assert "clean: judged 1 of 1" in text
    assert "1.25" in text


def test_what_a_guest_or_a_host_says_is_no_markup(project: pytest.Pytester) -> None:
    run(project, CONSOLE, HTML, "--xen-logs=logs")
    page = page_of(project)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "console:\n    | <script>alert(1)</script>" in page.text
    outside = [link for link in page.links if not link.startswith("#")]
    assert sorted(outside) == [
        "logs/test_it.py_test_evil/serial.log", "logs/test_it.py_test_evil/victim%20%3C1%3E.console"
    ]  # fmt: skip
    assert (project.path / outside[0]).exists()


def test_a_page_that_cannot_be_written_any_more_changes_no_verdict(
    project: pytest.Pytester,
) -> None:
    test = """
        from pathlib import Path

        def test_measured(measure):
            measure()
            Path("page.html").unlink()
            Path("page.html").mkdir()
    """
    result = run(project, test, HTML)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["the page cannot be written: Is a directory: *page.html"])


def test_a_page_without_history_is_written_if_the_results_are_damaged(
    project: pytest.Pytester,
) -> None:
    test = """
        from pathlib import Path

        def test_measured(measure):
            measure()
            with Path("results.jsonl").open("a") as file:
                file.write("no result\\n")
    """
    result = run(project, test, HTML, "--xen-results=results.jsonl")
    assert result.ret == 0
    assert "destroy" in page_of(project).text


def test_it_compares_and_has_a_history(project: pytest.Pytester) -> None:
    results = "--xen-results=results.jsonl"
    for seconds in (1.0, 1.5):
        test = f"def test_measured(measure):\n    for n in range(4): measure({seconds} + n / 99)"
        run(project, test, results, HTML)
        lines = (project.path / "results.jsonl").read_text()
        # A later day, as both runs began in the same second.
        (project.path / "results.jsonl").write_text(
            lines.replace('"started": "20', '"started": "19')
        )
    page = page_of(project)
    assert "destroy" in page.text
    assert "History" in page.text
    assert "of 5 figures are worse by more than noise" in page.text
    assert "worse, more than noise" in page.text
    assert "1.51" in page.text
    assert "there is nothing to compare" not in page.text


def test_the_gates_words_are_on_it(project: pytest.Pytester) -> None:
    run(project, MEASURES, "--xen-results=earlier.jsonl")
    slower = MEASURES.replace("1.25", "2.5")
    limit = ("--xen-compare=earlier.jsonl", "--xen-fail-if=destroy:median:10%")
    assert run(project, slower, *limit, HTML, "--xen-results=now.jsonl").ret == 1
    told = "worse: measured (xl, as-is, 1024 MiB): destroy median: 1.25 then, 2.50 s now"
    text = page_of(project).text
    assert told in text
    assert "worse, too few repeats to tell" in text
    later = read_runs(project.path / "now.jsonl")
    assert faults(later)[0].startswith(told)
    assert told in Page(to_html(later)).text


def test_workers_rows_and_the_runs_end_are_one_run(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST + NOTHING_IS_BUILT + "import time\ntime.sleep(1.1)\n")
    project.makepyfile(test_it=MEASURES)
    project.runpytest_subprocess(HOST, "-n1", "--xen-results=results.jsonl")
    (known,) = read_runs(project.path / "results.jsonl")
    assert known.known is not None
    assert len(known.rows) == len(known.tests) == 1


def test_commands_that_may_have_a_password_are_not_told(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XEN_SERIAL", "/bin/echo secret")
    monkeypatch.setenv("PYTEST_XEN_REPEAT", "1")
    project.makepyfile("def test_it(): pass")
    power = "/bin/true -P secret power {action}"
    host = ("--xen-host=lab7", HTML)
    for words in ((f"--xen-power={power}",), ("--xen-power", power), ("-o", f"xen_power={power}")):
        project.runpytest_inprocess(*host, *words)
        page = (project.path / "page.html").read_text()
        assert "secret" not in page
        assert "PYTEST_XEN_SERIAL=... PYTEST_XEN_REPEAT=1 pytest --xen-host=lab7" in page
        (project.path / "page.html").unlink()


@pytest.mark.parametrize("path", ["nowhere/page.html", "."])
def test_a_bad_path_is_a_usage_error(project: pytest.Pytester, path: str) -> None:
    result = run(project, MEASURES, f"--xen-html={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --xen-html: *cannot be written*"])


def test_in_an_ini_file_it_is_beside_that(project: pytest.Pytester) -> None:
    (project.path / "below").mkdir()
    project.makeini("[pytest]\nxen_html = below/page.html")
    run(project, MEASURES)
    assert (project.path / "below" / "page.html").exists()
