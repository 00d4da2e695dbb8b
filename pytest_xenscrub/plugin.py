# SPDX-License-Identifier: MIT
"""The front door: pytest's hooks, and nothing else."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub import options
from pytest_xenscrub.errors import ConfigurationError, MissingToolError, XenScrubError
from pytest_xenscrub.refused import Refusals
from pytest_xenscrub.stash import SESSION, uses_host

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

pytest_plugins = ["pytest_xenscrub.fixtures"]

_WORKERS: pytest.StashKey[list[subprocess.Popen[bytes]]] = pytest.StashKey()

TIMEOUT_SECONDS = 600.0
"""pytest-timeout's limit for a test that uses a host and sets none: above the drivers' own.

For the test alone: its fixtures may have to reboot a machine first, and have their own deadlines.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run; `--help` touches no host."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Markers, so that --strict-markers knows them; settings, so that a bad one ends the run."""
    config.addinivalue_line("markers", "quick: the suite for each commit")
    config.addinivalue_line("markers", "slow: the suite for each night")
    config.addinivalue_line("markers", "control: must fail on a Xen that does not scrub")
    config.addinivalue_line(
        "markers", "xen_host_tags(tag, ...): only for a host that has these tags"
    )
    if config.option.help:
        return  # also to someone whose settings are wrong
    from pytest_xenscrub.session import Session  # noqa: PLC0415 - after --help

    try:
        session = Session(config, options.read_settings(config))
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    config.stash[_WORKERS] = []
    config.pluginmanager.register(_Reports(config))
    config.pluginmanager.register(Refusals())
    _end_on_sigterm(config)


def _end_on_sigterm(config: pytest.Config) -> None:
    """SIGTERM ends a run as Ctrl-C does: fixtures are torn down, guests and QEMU go away."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # A second one must not interrupt the clean-up of the first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for worker in config.stash[_WORKERS]:
            with contextlib.suppress(OSError):
                worker.send_signal(signal.SIGTERM)
        pytest.exit("SIGTERM")

    signal.signal(signal.SIGTERM, stop)

    def restore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    config.add_cleanup(restore)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """A worker of pytest-xdist's runs: it has hosts and guests of its own to clean up."""
    worker = getattr(getattr(node.gateway, "_io", None), "popen", None)
    if isinstance(worker, subprocess.Popen):
        node.config.stash[_WORKERS].append(worker)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker is about to be started: it is told its host."""
    node.config.stash[SESSION].hosts.worker_starts(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended, or died."""
    node.config.stash[SESSION].hosts.worker_ended(node)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> object | None:
    """Hosts that differ get the tests that are for them."""
    return config.stash[SESSION].hosts.scheduling()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which host, real or emulated; which Xen runs there is said once it runs."""
    return config.stash[SESSION].header()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that measures is run as often as was asked for."""
    metafunc.config.stash[SESSION].parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Which tests are for which host; and a limit for each, should all else fail."""
    config.stash[SESSION].hosts.prepare(items)
    if not config.pluginmanager.hasplugin("timeout") or config.getoption("timeout", None):
        return
    for item in items:
        if uses_host(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS, func_only=True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """What has to be built is built before any host is touched: a bad patch ends the run here."""
    if session.config.option.collectonly:
        return
    try:
        session.config.stash[SESSION].build(session.items)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test's logs begin."""
    if uses_host(item):
        item.config.stash[SESSION].logs.begin(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A host that stopped responding, or a Xen that complains, fails the test that did it."""
    result = yield
    if uses_host(item):
        item.config.stash[SESSION].check_responsive()
        item.config.stash[SESSION].check_xen_log()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Who is at fault: Xen (FAILED), what is around it (ERROR), a missing tool (skip)."""
    report = yield
    session = item.config.stash[SESSION]
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, MissingToolError):
        _as_skip(item, report, error)
    elif isinstance(error, XenScrubError):
        assert call.excinfo is not None  # noqa: S101 - there is an error
        session.explain(error, call.excinfo, report)
        if report.when != "teardown":
            report.when = session.blame(error)
    session.after(item, call, report)
    if hasattr(item.config, "workerinput"):
        vars(report)["xen_said"] = session.live.unsaid()  # pytest-xdist sends all of them
    return report


def _as_skip(item: pytest.Item, report: pytest.TestReport, error: MissingToolError) -> None:
    report.outcome = "skipped"
    path, line, _ = item.location
    reason = error.what + (f" ({error.todo})" if error.todo else "")
    report.longrepr = (path, (line or 0) + 1, f"Skipped: {reason}")


class _Reports:
    """The hook that is not told of its session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase has ended, in this process or in a worker: whose fault, and which logs."""
        session = self._config.stash[SESSION]
        session.outcome.note(report)
        session.logs.attach(self._config, report)
        if not hasattr(self._config, "workerinput"):
            for line in getattr(report, "xen_said", ()):
                session.say(f"[{report.node.gateway.id}] {line}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A figure that got worse fails a run; one in which only infrastructure broke says so."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return  # of pytest-xdist's processes one has all rows
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if config.stash[SESSION].records.compare(reporter):
        session.exitstatus = config.stash[SESSION].outcome.status(exitstatus)
    elif exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table."""
    config.stash[SESSION].summary(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Whatever fixtures did not close."""
    session: Any = config.stash.get(SESSION, None)
    if session is not None:
        session.close()
