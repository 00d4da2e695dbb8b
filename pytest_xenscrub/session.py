# SPDX-License-Identifier: MIT
"""What a run knows from its start to its end; pytest's hooks ask it, and it holds no hook."""

from __future__ import annotations

import contextlib
import functools
import itertools
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from _pytest._code.code import ReprFileLocation

from pytest_xenscrub.errors import (
    DisagreementError,
    HostStalledError,
    HostUnusableError,
    InfrastructureError,
    MissingToolError,
    XenFaultError,
    XenScrubError,
)
from pytest_xenscrub.pool.hosts import Hosts
from pytest_xenscrub.report.live import Live
from pytest_xenscrub.report.logs import Logs
from pytest_xenscrub.report.outcome import Outcome, note_fault
from pytest_xenscrub.report.records import Records
from pytest_xenscrub.stash import parameter, uses_host

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
    from pytest_xenscrub.hypervisor.deploy import Deployment
    from pytest_xenscrub.options import Settings
    from pytest_xenscrub.rig import Rig

CONTROL = "noscrub"
CONTROL_ID = "control"
MOST_STALL_SECONDS = 5.0
"""A dom0 that does not respond for longer than this fails the test that did it to it."""
_PACKAGE = Path(__file__).parent
_FULL_TRACEBACKS = ("long", "native", "short", "line")


class Session:
    """One run.

    Attributes:
        settings: what the user asked for.
        live: prints for the user while it runs.
        started: when the run began, UTC, as ISO 8601 has it.
        run: this run's number in the patterns and names of its guests, 24 bits.
        guest_numbers: of the guests to come: no two of a run write the same pattern.
        rig: the host in use, once a test has asked for one.
        records: what was measured.
        hosts: those that may be used.
        logs: files for what hosts and guests say.
        outcome: whose fault it was that tests did not pass.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self.config = config
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.run = secrets.randbits(24) | 1
        self.guest_numbers = itertools.count(1)
        self.rig: Rig | None = None
        self.records = Records(settings)
        self._told: XenScrubError | None = None
        self.hosts = Hosts(config, settings, self.tag, self.say)
        self.logs = Logs(settings.logs)
        self.outcome = Outcome()
        if settings.host or settings.compares or settings.config:
            self.xens  # noqa: B018 - made now, so that a mistake ends the run before it starts

    @functools.cached_property
    def xens(self) -> Xens:
        """The Xens to be tested; a pytest that has nothing to do with Xen never asks."""
        from pytest_xenscrub.hypervisor.choice import Xens  # noqa: PLC0415 - as just said

        settings = self.settings
        return Xens(
            settings.variant,
            also=(CONTROL,) if settings.control else (),
            source=settings.source,
            config=settings.config,
            cmdline=settings.cmdline,
            build_tools=settings.tools == "build",
            say=self.say,
            update=self.update,
        )

    @property
    def tag(self) -> str:
        """Begins the name of all that this run makes on a host."""
        return f"xenscrub-{self.run:06x}"

    @functools.cached_property
    def live(self) -> Live:
        """Made when it is asked for: the terminal reporter comes after us."""
        return Live(self.config)

    def say(self, line: str) -> None:
        """Print a line for the user that stays."""
        self.live.say(line)

    def update(self, line: str) -> None:
        """Show the user a line that comes and goes."""
        self.live.update(line)

    # -- before ---------------------------------------------------------------------------------

    def header(self) -> str | None:
        """Lines for pytest's header; nothing where no host was asked for."""
        line = self.hosts.header()
        if line is None:
            return None
        return "\n".join([line, *([f"xen profile: {why}"] if (why := self._no_profile) else [])])

    @property
    def _no_profile(self) -> str:
        """Why there is no profile though one was asked for; empty where there is one."""
        pool = self.hosts.pool
        if self.settings.profile is None or not pool or pool[0].emulated:
            return ""
        return (
            f"skipped: the CPUs of a real machine ({pool[0].name}) cannot be looked at from"
            " outside; use --xen-host=emulated"
        )

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Run tests on each Xen, with each toolstack and type of guest, as often as asked for."""
        if "xen_variant" in metafunc.fixturenames and self.settings.compares:
            metafunc.parametrize(
                "xen_variant", self._xens_for(metafunc.definition), indirect=True, scope="session"
            )
        # In whatever order they were given, each once.
        toolstacks = dict.fromkeys(self.settings.toolstack)
        if "xen_toolstack" in metafunc.fixturenames and len(toolstacks) > 1:
            metafunc.parametrize("xen_toolstack", toolstacks, indirect=True)
        types = dict.fromkeys(self.settings.guest_type)
        if "xen_guest_type" in metafunc.fixturenames and len(types) > 1:
            metafunc.parametrize("xen_guest_type", types, indirect=True)
        count = self.settings.repeat
        if count > 1 and "xen_repeat" in metafunc.fixturenames:
            ids = [f"repeat{number}" for number in range(1, count + 1)]
            metafunc.parametrize("xen_repeat", range(1, count + 1), indirect=True, ids=ids)

    def _xens_for(self, definition: pytest.Item) -> list[ParameterSet]:
        """The Xens that a test is for, the control first: there a test must fail, or be left out.

        Only a failed assertion counts: a control whose host broke has proven nothing.
        """
        xens = [pytest.param(name, id=name) for name in self.xens.names]
        if self.settings.control and definition.get_closest_marker("control") is not None:
            must_fail = pytest.mark.xfail(
                reason="must fail: this Xen does not scrub", raises=AssertionError, strict=True
            )
            xens.insert(0, pytest.param(CONTROL, id=CONTROL_ID, marks=must_fail))
        return xens

    def build(self, items: list[pytest.Item]) -> None:
        """Build what these tests need, before any host is touched.

        Raises:
            ConfigurationError: a variant does not apply, or does not compile.
        """
        wanted: dict[str, None] = {}
        for item in items:
            if uses_host(item) and self.hosts.pool:
                wanted[parameter(item, "xen_variant") or self.xens.names[0]] = None
        for name in wanted:
            # Anything else than a mistake of the user's is told by the tests that need it.
            with contextlib.suppress(InfrastructureError, MissingToolError):
                self.xens.get(name)

    def deployment(self, xen: ChosenXen) -> Deployment:
        """What makes that Xen run on the host that is ours.

        Raises:
            InfrastructureError: none can be had.
        """
        from pytest_xenscrub.hypervisor import deploy  # noqa: PLC0415 - only with a host

        settings = self.settings
        described = self.hosts.claim.get()
        if described.emulated:
            wanted = deploy.EmulatedChoice(
                settings.suite, settings.host_memory, settings.host_nodes
            )
            return deploy.EmulatedDeployment(
                xen, wanted, tools_for=self.xens.tools_for, say=self.say
            )
        return deploy.SshDeployment(
            xen,
            described,
            config=settings.ssh_config,
            tag=self.tag,
            lock=self.hosts.claim.again,
            tools_for=self.xens.tools_for,
            say=self.say,
        )

    # -- while a test runs ----------------------------------------------------------------------

    def check_responsive(self) -> None:
        """Raise `HostStalledError` if dom0 was silent for too long since the test began."""
        dom0 = None if self.rig is None else self.rig.running
        if dom0 is None or self.rig is None:
            return
        stall = dom0.worst_stall()
        if stall > MOST_STALL_SECONDS:
            raise HostStalledError(
                f"{dom0.host.name}: dom0 did not respond for {stall:.1f} s"
                f" (at most {MOST_STALL_SECONDS:.0f} s are allowed)",
                todo="something kept dom0's CPU: look for long loops without preemption in what"
                " this Xen does when memory is freed",
                evidence=dom0.evidence(),
            )

    def check_xen_log(self) -> None:
        """Raise `XenFaultError` if Xen found a fault in itself since the test began."""
        dom0 = None if self.rig is None else self.rig.running
        if dom0 is not None and (said := dom0.faults()):
            raise XenFaultError(
                f"{dom0.host.name}: {said.splitlines()[0]}",
                todo="an assertion, a BUG or a WARN of Xen's own: look at its call trace",
                evidence={"Xen's log": said},
            )

    # -- after a phase of a test ----------------------------------------------------------------

    def blame(self, error: XenScrubError) -> Literal["setup", "call"]:
        """Which phase a fault counts for: "call" is Xen's (FAILED), "setup" is ours (ERROR)."""
        return "call" if isinstance(error, XenFaultError) else "setup"

    def explain(
        self,
        error: XenScrubError,
        excinfo: pytest.ExceptionInfo[BaseException],
        report: pytest.TestReport,
    ) -> None:
        """Show the test's own lines and the error's text, not the way through this package.

        What a fixture of the whole session failed with is every later test's error too: told in
        full once, and in one line after that.
        """
        if self.config.option.tbstyle in _FULL_TRACEBACKS or self.config.option.fulltrace:
            return
        told, self._told = self._told, error
        what = error.what
        if error is told:
            what = f"{what} (told above)"
            again = HostUnusableError(what).with_traceback(error.__traceback__)
            shown = pytest.ExceptionInfo.from_exception(again).getrepr(style="value")
        else:
            root = self.config.rootpath
            own = excinfo.traceback.filter(
                lambda entry: (
                    Path(entry.path).is_relative_to(root)
                    and not Path(entry.path).is_relative_to(_PACKAGE)
                    and "site-packages" not in Path(entry.path).parts
                )
            )
            if own:
                excinfo.traceback = own
            shown = excinfo.getrepr(style="short" if own else "value")
        # What pytest's summary shows in its one line.
        path, line, _ = report.location
        shown.reprcrash = ReprFileLocation(path, line or 0, what)
        report.longrepr = shown

    def after(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Look at the host after a failure, so that what comes next finds one it can trust."""
        error = None if call.excinfo is None else call.excinfo.value
        if call.when == "call" and parameter(item, "xen_variant") == CONTROL:
            self._judge_control(item, call, report)
        if uses_host(item) or isinstance(error, XenScrubError):
            note_fault(item, error, report)
        rig = self.rig
        if rig is None or not uses_host(item):
            return
        if call.when == "call":
            self.live.clear()
        if not report.failed:
            if call.when == "call":
                rig.passed()
            return
        if isinstance(error, HostStalledError):
            rig.broke(str(error))
        if isinstance(error, DisagreementError):
            item.session.shouldstop = f"{item.nodeid}: {error.what}"
        answers = rig.healthy()
        if rig.running is not None:
            self.logs.failed(item.nodeid, rig.running, answers=answers)
        report.sections.append(("xen host", rig.describe()))
        if not isinstance(error, XenScrubError) and rig.running is not None:
            report.sections += list(rig.running.evidence().items())

    def _judge_control(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Stop if a test did not see the leak of a Xen that leaks."""
        if item.get_closest_marker("xfail") is None:
            return  # asked for as any other variant
        error = None if call.excinfo is None else call.excinfo.value
        if error is None:
            item.session.shouldstop = (
                f"{item.nodeid} passed on a Xen that does not scrub:"
                " a probe that cannot see a leak is no probe"
            )
        elif isinstance(error, AssertionError) and "RESIDUE" not in str(error):
            report.outcome = "failed"
            report.longrepr = f"it failed on the control, but saw no residue:\n{error}"

    # -- at the end -----------------------------------------------------------------------------

    def summary(self, reporter: pytest.TerminalReporter) -> None:
        """Print the tables, draw the charts."""
        self.records.tell(reporter, first=lambda: self.xens.names[0], no_profile=self._no_profile)

    def close(self) -> None:
        """Let go of the host if no fixture has."""
        if self.rig is not None:
            self.rig.close()
        self.hosts.close()
