# SPDX-License-Identifier: MIT
"""The plugin's implementations of pytest's hooks, and nothing else."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub import hookspec, options
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.report.pytest_html import PytestHtml
from pytest_xenscrub.run.blame import INFRASTRUCTURE_STATUS, Blame, Terminated
from pytest_xenscrub.run.refused import Refusals
from pytest_xenscrub.run.stash import SESSION, uses_host

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

pytest_plugins = ["pytest_xenscrub.fixtures_host", "pytest_xenscrub.fixtures_guests"]

_WORKERS: pytest.StashKey[list[subprocess.Popen[bytes]]] = pytest.StashKey()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that conftest files and other plugins may implement."""
    pluginmanager.add_hookspecs(hookspec)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; `--help` touches no host."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare markers, and read all options, so that a wrong one ends the run here."""
    config.addinivalue_line("markers", "quick: the suite for each commit")
    config.addinivalue_line("markers", "slow: the suite for each night")
    config.addinivalue_line("markers", "large: the suite of guests whose size matters")
    config.addinivalue_line("markers", "control: must fail on a Xen that does not scrub")
    config.addinivalue_line(
        "markers", "xen_host_tags(tag, ...): only for a host that has these tags"
    )
    if config.option.help:
        return  # also if the options are wrong
    from pytest_xenscrub.run.default_tests import choose_tests  # noqa: PLC0415 - after --help
    from pytest_xenscrub.run.session import Session  # noqa: PLC0415 - as above

    try:
        session = Session(config, options.read_options(config))
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    config.stash[_WORKERS] = []
    if session.hosts.pool:
        if not __debug__:
            raise pytest.UsageError(
                "python -O leaves assertions out, and with them every verdict: run without -O and"
                " PYTHONOPTIMIZE"
            )
        choose_tests(config)
        config.pluginmanager.register(PytestHtml(config, lambda: str(session.tally.proof())))
    config.pluginmanager.register(_Reports(config))
    config.pluginmanager.register(Refusals())
    _end_on_sigterm(config)


def _end_on_sigterm(config: pytest.Config) -> None:
    """Make SIGTERM end a run as Ctrl-C does: fixtures are torn down, guests and QEMU end."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the clean-up after the first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        config.stash[SESSION].blame.interrupted = True
        running = config.pluginmanager.get_plugin("session")
        if isinstance(running, pytest.Session):
            # Ends the run even if an error of a clean-up replaces the one below.
            running.shouldstop = "SIGTERM"
        for worker in config.stash[_WORKERS]:
            with contextlib.suppress(OSError):
                worker.send_signal(signal.SIGTERM)
        raise Terminated("SIGTERM")

    signal.signal(signal.SIGTERM, stop)

    def restore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    config.add_cleanup(restore)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Note a pytest-xdist worker that runs: SIGTERM is passed on to each worker."""
    worker = getattr(getattr(node.gateway, "_io", None), "popen", None)
    if isinstance(worker, subprocess.Popen):
        node.config.stash[_WORKERS].append(worker)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker that is about to start its host and its run."""
    node.config.stash[SESSION].worker_starts(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note that a pytest-xdist worker has ended, or died."""
    node.config.stash[SESSION].hosts.worker_ended(node)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> object | None:
    """Schedule tests onto the workers that have a suitable host, if hosts differ."""
    return config.stash[SESSION].hosts.scheduling()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int, int]:
    """Set the exit status of a run that was refused, and the one for `git bisect run`."""
    if hasattr(config, "workerinput"):
        return (yield)
    bisects = options.bisects(config)
    try:
        status = yield
    except pytest.UsageError as error:
        refused = SESSION in config.stash and config.stash[SESSION].blame.refused
        if not refused and not bisects:
            raise
        sys.stdout.flush()  # last, so that a log of both ends with the error
        print(*(f"ERROR: {text}\n" for text in error.args), file=sys.stderr)
        status = INFRASTRUCTURE_STATUS if refused else pytest.ExitCode.USAGE_ERROR
    if not bisects:
        return status
    session = config.stash.get(SESSION, None)
    return (Blame() if session is None else session.blame).bisect_status(status)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the host, real or emulated. Its Xen is printed later, once it runs."""
    return config.stash[SESSION].header()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests by variant, toolstack, guest type and repeat."""
    metafunc.config.stash[SESSION].plan.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Work out which tests need which host."""
    config.stash[SESSION].hosts.prepare(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Build all Xens before any host is touched: a patch that does not build ends the run."""
    if session.config.option.collectonly:
        return
    try:
        session.config.stash[SESSION].ending.page_begins()
        session.config.stash[SESSION].build(session.items)
    except (ConfigurationError, InfrastructureError) as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the test's logs."""
    if uses_host(item):
        item.config.stash[SESSION].logs.begin(item.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test during which the host stopped responding, or Xen logged a BUG or a WARN.

    Runs before pytest-timeout, as the test's limit depends on the host.
    """
    if uses_host(item):
        item.config.stash[SESSION].watch.limit(item)
    result = yield
    if uses_host(item):
        item.config.stash[SESSION].watch.check_responsive()
        item.config.stash[SESSION].watch.check_xen_log()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Decide whose fault a failure is: see `pytest_xenscrub.run.blame`."""
    report = yield
    session = item.config.stash[SESSION]
    session.settle(item, call, report)
    session.after(item, call, report)
    if hasattr(item.config, "workerinput"):
        vars(report)["xen_said"] = session.live.unsaid()  # pytest-xdist sends all of them
    return report


class _Reports:
    """Hooks that get no config from pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the fault and the logs of a test's phase, of this process or of a worker."""
        session = self._config.stash[SESSION]
        session.blame.note(report)
        session.tally.note(report)
        session.logs.attach(self._config, report)
        if not hasattr(self._config, "workerinput"):
            session.records.note(report, session.started)
            for line in getattr(report, "xen_said", ()):
                session.say(f"[{report.node.gateway.id}] {line}")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note whether the user, SIGTERM or `pytest.exit` ended the run."""
        ended = excinfo.type in (KeyboardInterrupt, Terminated) or isinstance(
            excinfo.value, pytest.exit.Exception
        )
        self._config.stash[SESSION].blame.interrupted |= ended


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(
    session: pytest.Session, exitstatus: int
) -> Generator[None, object, object]:
    """Set the exit status before others print it; print what was proven last."""
    config = session.config
    nothing_runs = config.option.collectonly or config.option.setupplan
    if hasattr(config, "workerinput") or nothing_runs:
        return (yield)  # only one of pytest-xdist's processes has all reports
    reporter = config.pluginmanager.getplugin("terminalreporter")
    session.exitstatus = config.stash[SESSION].ending.status(exitstatus, reporter)
    result = yield
    config.stash[SESSION].ending.page_ends(int(session.exitstatus), reporter)
    config.stash[SESSION].ending.last_words(int(session.exitstatus), reporter)
    return result


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the tables."""
    config.stash[SESSION].summary(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what fixtures did not close."""
    session: Any = config.stash.get(SESSION, None)
    if session is not None:
        session.close()
