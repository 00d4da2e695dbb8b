# SPDX-License-Identifier: MIT
"""What the user asked for: each option once, a field of `Options`.

Command line, environment, ini file and help text all follow the field; see `option_places`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub import option_paths as paths
from pytest_xenscrub import option_values as value
from pytest_xenscrub.deadline import HANG_SECONDS, STARVED_SHARE
from pytest_xenscrub.option_places import Option, option

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.report.records import ProfileChoice
    from pytest_xenscrub.scrub.row import Row


@dataclass(frozen=True)
class Options:
    """What a run is to do; sizes in bytes."""

    # A line each for the parser, the help and the rest.
    # fmt: off
    host: tuple[HostDescription, ...] = option(
        value.host,
        "machine to test on: [user@]host[:port] of a dom0, a name from --xen-hosts-file,"
        " labgrid:PLACE or labgrid:TAG=VALUE,... for a place of labgrid's, or 'emulated'; of"
        " several the first that is free, or one for each worker of pytest-xdist",
        "HOST", default=(), many=True, asks_for_xen=True,
    )
    hosts_file: tuple[HostDescription, ...] = option(
        value.hosts_file,
        "the lab's machines, as TOML (see README)",
        "FILE", default=(), beside=paths.beside, asks_for_xen=True,
    )
    lock_wait: float = option(
        value.seconds,
        "how long to wait for a machine that another run has, in s (default 0: do not)",
        "S", default=0.0,
    )
    labgrid_client: str = option(
        value.program,
        "labgrid's program, for hosts like labgrid:PLACE (default: labgrid-client, from PATH)",
        "PROGRAM", default="labgrid-client", beside=paths.program_beside,
    )
    allow_busy: bool = option(
        value.flag,
        "use a machine although guests run there that are not ours",
        default=False, flag=True,
    )
    host_memory: int | None = option(
        value.host_memory,
        "memory of the emulated host (default: half of what is available, 8 GiB at most)",
        "SIZE",
    )
    host_nodes: int = option(
        value.nodes,
        "NUMA nodes of the emulated host, all but the first of them without CPUs (default: 1)",
        "N", default=1,
    )
    accel: str = option(
        value.choice("auto", "kvm", "tcg"),
        "what runs the emulated host: kvm, tcg (software), or auto (default): KVM where a Xen"
        " boots with it, else TCG",
        "auto|kvm|tcg", default="auto",
    )
    suite: str = option(
        value.choice("bookworm", "trixie"),
        "Debian release of the emulated host's dom0: bookworm (Xen 4.17, the default) or trixie"
        " (Xen 4.20)",
        "SUITE", default="bookworm",
    )
    ssh_config: Path | None = option(
        value.file,
        "ssh configuration file to use in place of your own",
        "FILE", beside=paths.beside,
    )
    power: tuple[str, ...] = option(
        value.power,
        "command that switches the host's power: {action} in it becomes on, off, cycle or status"
        " ({action:status=get}: get in place of status), {host} the host's name, {address}"
        " what ssh connects to; no shell runs it",
        "COMMAND", default=(), beside=paths.command_beside,
    )
    serial: tuple[str, ...] = option(
        value.serial,
        "command that prints the host's serial log and ends; {host} in it becomes the host's name,"
        " {address} what ssh connects to",
        "COMMAND", default=(), beside=paths.command_beside,
    )
    toolstack: tuple[str, ...] = option(
        value.choice("xl", "libvirt"),
        "what drives the guests, may be given several times: xl (default) or libvirt",
        "xl|libvirt", default=("xl",), many=True, asks_for_xen=True,
    )
    guest_type: tuple[GuestType, ...] = option(
        value.choice("pv", "pvh"),
        "type of guest that victims are, may be given several times: pv (default) or pvh; probes"
        " are PV guests",
        "pv|pvh", default=("pv",), many=True,
    )
    guest_memory: int | None = option(
        value.guest_memory,
        "memory of a victim (default: a third of what is free)",
        "SIZE",
    )
    min_coverage: float = option(
        value.coverage,
        "share of the freed frames that must have been read for a verdict of clean, 50%% or more"
        " (default 99%%)",
        "SHARE", default=0.99,
    )
    max_exposure: float = option(
        value.positive,
        "how long bytes of a destroyed guest may stay in the emulated host's RAM, s for each GiB"
        " (default 10)",
        "SECONDS", default=10.0,
    )
    hang_seconds: float = option(
        value.positive,
        "for how long nothing may move (no page freed, scrubbed or given, no word on a console)"
        " before Xen counts as hung, in s (default 60)",
        "SECONDS", default=HANG_SECONDS,
    )
    max_starvation: float = option(
        value.share,
        "share of a test for which this machine may keep the emulated host from running: above it"
        " the test's timings are marked, and --xen-fail-if leaves them out (default 20%%)",
        "SHARE", default=STARVED_SHARE,
    )
    variant: tuple[str, ...] = option(
        value.variant,
        "Xen to test, may be given several times: stock, sync, tasklet, noscrub, as-is (whatever"
        " the host runs, the default), a patch, mailbox, series folder or .cocci file, or"
        " defect:NAME, one that is broken on purpose (defect:all)",
        "NAME|FILE", default=("as-is",), many=True, beside=value.variant_beside, asks_for_xen=True,
    )
    source: str = option(
        value.source,
        "where variants are built from: debian (default), a folder, a git repository PATH#REV or"
        " URL#REV, a tarball",
        "SPEC", default="debian", beside=paths.source_beside,
    )
    config: tuple[str, ...] = option(
        value.kconfig,
        "Kconfig option for variants, may be repeated",
        "KEY=VALUE", default=(), many=True,
    )
    tools: str = option(
        value.choice("host", "build"),
        "tools that drive the Xen: the host's own (default), or, where those do not match it or"
        " the variant changes them, build the tree's",
        "host|build", default="host", asks_for_xen=True,
    )
    cmdline: str = option(
        value.cmdline,
        "boot options for the Xen that is tested",
        "OPTIONS", default="",
    )
    control: bool = option(
        value.flag,
        "first run the tests that must fail on a Xen that does not scrub, on one that does not:"
        " the session stops if one passes",
        default=False, flag=True, asks_for_xen=True,
    )
    results: Path | None = option(
        value.results,
        "append each result to FILE as it happens, as JSON lines",
        "FILE", beside=paths.beside,
    )
    profile: ProfileChoice | None = option(
        value.profile,
        "look where the CPUs are while a measured guest is destroyed, on the emulated host, and"
        " show it as a table; with FOLDER, write folded stacks for flame-graph tools there",
        "FOLDER", bare=True, beside=value.profile_beside,
    )
    compare: tuple[Row, ...] | None = option(
        value.earlier,
        "compare with an earlier run: a FILE that --xen-results has written",
        "FILE", beside=paths.beside,
    )
    fail_if: tuple[Limit, ...] = option(
        value.limit,
        "fail the run if a figure of any test is worse than in --xen-compare's by more than that,"
        " or was not compared; may be repeated: destroy:median:10%% (statistics: median, mean,"
        " min, max)",
        "METRIC:STATISTIC:LIMIT", default=(), many=True,
    )
    columns: tuple[str, ...] = option(
        value.columns,
        "columns of the tables at the end, by their headings, with commas; -v shows all",
        "NAME,...", default=(),
    )
    plots: Path | None = option(
        value.plots,
        "write charts to FOLDER when all is done, as PNG and SVG: exposure, courses of destroys,"
        " destroy against memory, maps of memory",
        "FOLDER", beside=paths.beside,
    )
    logs: Path | None = option(
        value.logs,
        "folder for what hosts and guests say: serial logs, Xen's, consoles",
        "FOLDER", beside=paths.beside,
    )
    exit: str = option(
        value.choice("pytest", "bisect"),
        "exit status: as pytest has it (default), or for git bisect run: 0 good, 1 a verdict"
        " against Xen, 125 everything else, 130 interrupted",
        "pytest|bisect", default="pytest",
    )
    repeat: int = option(value.repeat, "run each measured test N times", "N", default=1)
    show_residue: bool = option(
        value.flag,
        "print bytes that are not of our own pattern, which may be someone's data",
        default=False, flag=True,
    )
    # fmt: on

    @property
    def compares(self) -> bool:
        """Whether another Xen than the host's own is to run."""
        return self.control or self.variant != ("as-is",)


ALL_OPTIONS = tuple(Option.of(field) for field in dataclasses.fields(Options))
"""Every option, in the order of `--help`."""


def add_options(parser: pytest.Parser) -> None:
    """Declare all options to pytest."""
    group = parser.getgroup("xenscrub", "memory scrubbing of destroyed guests on a real Xen")
    for each in ALL_OPTIONS:
        each.declare(parser, group)


def read_options(config: pytest.Config) -> Options:
    """All options of a run.

    Raises:
        pytest.UsageError: one cannot be meant; says where it stands.
    """
    options = Options(**{each.key: each.read(config) for each in ALL_OPTIONS})
    if options.fail_if and options.compare is None:
        raise pytest.UsageError("--xen-fail-if needs an earlier run: say --xen-compare=FILE")
    if options.control and config.getoption("runxfail", default=False):
        raise pytest.UsageError(
            "--xen-control has tests that must fail, and --runxfail calls them failed: leave one"
            " out"
        )
    return options


def bisects(config: pytest.Config) -> bool:
    """Whether the exit status is for `git bisect run`, however wrong other options are."""
    status = next(each for each in ALL_OPTIONS if each.key == "exit")
    try:
        return bool(status.read(config) == "bisect")
    except pytest.UsageError:
        return False


def asked_for_xen(config: pytest.Config) -> bool:
    """Whether this very run, and not an ini file that also serves others, asks for a Xen."""
    return any(each.asks_for_xen and each.given_to_this_run(config) for each in ALL_OPTIONS)
