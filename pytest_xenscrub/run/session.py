# SPDX-License-Identifier: MIT
"""The state of a run, from its start to its end, for pytest's hooks; has no hooks itself."""

from __future__ import annotations

import functools
import itertools
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import HostSilentError, HostStalledError, XenScrubError
from pytest_xenscrub.limits import Memory, available_memory
from pytest_xenscrub.report.judged import Tally, verdict_properties
from pytest_xenscrub.report.live import Live
from pytest_xenscrub.report.logs import Logs
from pytest_xenscrub.report.records import Records
from pytest_xenscrub.report.shown import Shown
from pytest_xenscrub.run import blame
from pytest_xenscrub.run.ending import Ending
from pytest_xenscrub.run.hosts import Hosts
from pytest_xenscrub.run.plan import CONTROL, MUST_FAIL, Plan
from pytest_xenscrub.run.stash import parameter, uses_host
from pytest_xenscrub.run.watch import Watch

if TYPE_CHECKING:
    import pytest

    from pytest_xenscrub.boot.deploy import Deployment
    from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
    from pytest_xenscrub.options import Options
    from pytest_xenscrub.run.managed_host import ManagedHost
    from pytest_xenscrub.scrub.verdict import Verdict

_WORKER_STARTED = "xenscrub_started"
_WORKER_MEMORY = "xenscrub_memory"


class Session:
    """One run.

    Attributes:
        options: what the user asked for.
        live: prints for the user during the run.
        started: start of the run, UTC, in ISO 8601.
        run: the run's number in the patterns and names of its guests, 24 bits.
        sample: which pages victims fill; None for all of them.
        guest_numbers: counts guests, so that each one of a run writes a different pattern.
        managed_host: the host in use; None until a test asks for one.
        records: the measurements.
        hosts: the hosts that the run may use.
        logs: files for the output of hosts and guests.
        blame: collects whose fault the tests' failures were.
        tally: counts the scenarios in which Xen was judged.
        plan: the Xens that tests run on, and what is built for them.
        watch: looks at the host during a test.
        ending: gives the exit status, and prints the last lines.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.options = options
        self.config = config
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.started: str = getattr(config, "workerinput", {}).get(_WORKER_STARTED, now)
        self.run = secrets.randbits(24) | 1
        self.guest_numbers = itertools.count(1)
        self.sample = options.fill.sample(secrets.randbits(32) | 1)
        self.managed_host: ManagedHost | None = None
        self.records = Records(options)
        config.pluginmanager.register(self.records)
        self._shown = Shown(config)
        self.hosts = Hosts(config, options, self.tag, self.say)
        self.logs = Logs(options.logs, self.say)
        self.blame = blame.Blame()
        self.tally = Tally()
        self.plan = Plan(self)
        self.watch = Watch(self)
        self.ending = Ending(self)
        if options.host or options.compares or options.config:
            self.xens  # noqa: B018 - made now, so that a mistake ends the run before it starts

    @functools.cached_property
    def xens(self) -> Xens:
        """The Xens to be tested; made on first use, which runs without Xen never make."""
        from pytest_xenscrub.hypervisor.choice import Xens  # noqa: PLC0415 - as just said

        options = self.options
        return Xens(
            options.variant,
            also=(CONTROL,) if options.control else (),
            source=options.source,
            config=options.config,
            cmdline=options.cmdline,
            build_tools=options.tools == "build",
            say=self.say,
            update=self.update,
        )

    @property
    def tag(self) -> str:
        """The tag with which the names of all guests and files of this run on a host begin."""
        return f"xenscrub-{self.run:06x}"

    @functools.cached_property
    def live(self) -> Live:
        """Prints for the user; made on first use, because pytest's reporter starts later."""
        return Live(self.config)

    def say(self, line: str) -> None:
        """Print a line for the user."""
        self.live.say(line)

    def update(self, line: str) -> None:
        """Show the user a line that the next one replaces."""
        self.live.update(line)

    # -- before ---------------------------------------------------------------------------------

    def header(self) -> str | None:
        """Lines for pytest's header; None without hosts."""
        line = self.hosts.header()
        if line is None:
            return None
        return "\n".join([line, *([f"xen profile: {why}"] if (why := self._no_profile) else [])])

    @property
    def _no_profile(self) -> str:
        """Why a run with --xen-profile makes no profiles; empty if it does."""
        pool = self.hosts.pool
        if self.options.profile is None or not pool or pool[0].emulated:
            return ""
        return (
            f"skipped: the CPUs of a real machine ({pool[0].name}) cannot be looked at from"
            " outside; use --xen-host=emulated"
        )

    def build(self, items: list[pytest.Item]) -> None:
        """Build what these tests need, before any host is touched.

        Raises:
            ConfigurationError: a variant does not apply, or does not compile.
            InfrastructureError: something that the run needs is missing on this machine.
        """
        if not self.hosts.pool:
            return
        users = [item for item in items if uses_host(item)]
        self.tally.expect(item.nodeid for item in users if not _is_control(item))
        self.plan.build(users)

    def deployment(self, xen: ChosenXen) -> Deployment:
        """The deployment that boots a Xen on the reserved host.

        Raises:
            InfrastructureError: no host can be used.
        """
        from pytest_xenscrub.boot import deploy_emulated, deploy_ssh  # noqa: PLC0415 - with a host

        options = self.options
        described = self.hosts.reservation.get()
        own: Deployment | None = self.config.hook.pytest_xenscrub_deployment(
            config=self.config, host=described, xen=xen, lock=self.hosts.reservation.again
        )
        if own is not None:
            return own
        if described.emulated:
            wanted = deploy_emulated.EmulatedChoice(
                options.suite,
                options.host_memory,
                options.host_nodes,
                options.hang_seconds,
                options.accel,
                device_model="hvm" in options.guest_type,
                ram_limit=options.host_ram_limit,
                cpus=options.host_cpus,
                memory=self._shared_memory(),
            )
            return deploy_emulated.EmulatedDeployment(
                xen, wanted, tools_for=self.xens.tools_for, say=self.say
            )
        return deploy_ssh.SshDeployment(
            xen,
            described,
            config=options.ssh_config,
            tag=self.tag,
            lock=self.hosts.reservation.again,
            tools_for=self.xens.tools_for,
            say=self.say,
        )

    @functools.cached_property
    def _memory(self) -> Memory:
        """What is available on this machine before any worker has a host."""
        return available_memory()

    def _shared_memory(self) -> Memory | None:
        """That, in a worker: each takes the same share, whoever is the first."""
        told = getattr(self.config, "workerinput", {}).get(_WORKER_MEMORY)
        return None if told is None else Memory(*told)

    def worker_starts(self, node: Any) -> None:
        """Give a worker of pytest-xdist, before it starts, this run's start and its machine."""
        node.workerinput[_WORKER_STARTED] = self.started
        node.workerinput[_WORKER_MEMORY] = (*self._memory,)
        self.hosts.worker_starts(node)

    # -- after a phase of a test ----------------------------------------------------------------

    def settle(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Write into a phase's report whose fault its failure was, and the error."""
        error = None if call.excinfo is None else call.excinfo.value
        if call.when == "call" and _is_control(item):
            error = self._judge_control(item, error, report)
        on_host = uses_host(item)
        control = _is_control(item)
        vars(report)["xen_scenario"] = on_host and not control
        blame.settle(item, error, report, on_host=on_host, control=control)
        if isinstance(error, XenScrubError) and report.failed and call.excinfo is not None:
            vars(report).update(xen_reason=error.what, xen_text=str(error))
            self._shown.show(error, call.excinfo, report)

    def after(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Check the host after a failed phase, so that the next test gets a healthy one."""
        error = None if call.excinfo is None else call.excinfo.value
        managed_host = self.managed_host
        if managed_host is None or not uses_host(item):
            return
        if call.when == "call":
            self.live.clear()
        if not report.failed:
            if call.when == "call":
                managed_host.passed()
            return
        if isinstance(error, (HostStalledError, HostSilentError)):
            managed_host.broke(str(error))
        answers = managed_host.healthy()
        if managed_host.running is not None:
            self.logs.failed(item.nodeid, managed_host.running, answers=answers)
        report.sections.append(("xen host", managed_host.describe()))
        if not isinstance(error, XenScrubError) and managed_host.running is not None:
            report.sections += list(managed_host.running.evidence().items())

    def judged(
        self, item: pytest.Item, number: int, verdict: Verdict, *, counted: bool = True
    ) -> None:
        """Keep a probe's verdict with its test, and report residue at once.

        Args:
            item: the test.
            number: the verdict's number in its test, from 0.
            verdict: the verdict.
            counted: see `verdict_properties`.
        """
        item.user_properties += verdict_properties(number, verdict, counted=counted)
        excused = _is_control(item) or blame.known_to_suite(item)
        if verdict.state == "residue" and not excused:
            blame.tell_residue(item)

    def _judge_control(
        self, item: pytest.Item, error: BaseException | None, report: pytest.TestReport
    ) -> BaseException | None:
        """Stop the run if a control passed, because its probes cannot see a leak.

        Returns:
            The error that counts; None if the failure says nothing of Xen.
        """
        if error is None:
            item.session.shouldstop = (
                f"{item.nodeid} passed on a Xen that does not scrub:"
                " the probes cannot see a leak, so no verdict would count"
            )
        elif isinstance(error, AssertionError) and not blame.saw_residue(item, error):
            report.outcome = "failed"
            vars(report).pop("wasxfail", None)
            report.longrepr = f"it failed on the control, but saw no residue:\n{error}"
            return None
        return error

    # -- at the end -----------------------------------------------------------------------------

    def summary(self, reporter: pytest.TerminalReporter) -> None:
        """Print the tables, draw the charts."""
        self.records.tell(reporter, first=lambda: self.xens.names[0], no_profile=self._no_profile)

    def close(self) -> None:
        """Release the host unless a fixture has."""
        if self.managed_host is not None:
            self.managed_host.close()
        self.hosts.close()


def _is_control(item: pytest.Item) -> bool:
    """Whether a test runs on the control of --xen-control, where it must fail.

    Such a test judges the probes, and not the Xens of the run. With --xen-variant=noscrub a test is
    not a control.
    """
    ours = any(mark.kwargs.get("reason") == MUST_FAIL for mark in item.iter_markers("xfail"))
    return ours and parameter(item, "xen_variant") == CONTROL
