# SPDX-License-Identifier: MIT
"""`Options`: each option of a run, declared once as a field.

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
from pytest_xenscrub.guest.sample import FillChoice
from pytest_xenscrub.option_places import Option, option
from pytest_xenscrub.units import PAGE, gib

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.report.wanted import ProfileChoice
    from pytest_xenscrub.scrub.row import Row


@dataclass(frozen=True)
class Options:
    """The options of a run; sizes in bytes."""

    # One line each for parser, help and the rest.
    host: tuple[HostDescription, ...] = option(
        value.host,
        "machine to test on: [user@]host[:port] of a dom0, a name from --xen-hosts-file,"
        " labgrid:PLACE or labgrid:TAG=VALUE,... for a labgrid place, or 'emulated'; may be"
        " repeated: the run takes the first that is free, pytest-xdist one for each worker",
        "HOST",
        default=(),
        many=True,
        asks_for_xen=True,
    )
    hosts_file: tuple[HostDescription, ...] = option(
        value.hosts_file,
        "the lab's machines, as TOML (see docs/lab-machine.md)",
        "FILE",
        default=(),
        beside=paths.beside,
        asks_for_xen=True,
    )
    lock_wait: float = option(
        value.seconds,
        "seconds to wait for a machine that another run has locked (default 0: fail at once)",
        "S",
        default=0.0,
    )
    labgrid_client: str = option(
        value.program,
        "labgrid's program, for hosts like labgrid:PLACE (default: labgrid-client, from PATH)",
        "PROGRAM",
        default="labgrid-client",
        beside=paths.program_beside,
    )
    allow_busy: bool = option(
        value.flag,
        "use a machine even if other guests run there",
        default=False,
        flag=True,
    )
    host_memory: int | None = option(
        value.host_memory,
        "memory of the emulated host (default: half of this machine's available memory, at most"
        " 8 GiB)",
        "SIZE",
    )
    host_ram_limit: int | None = option(
        value.host_memory,
        "memory of this machine that the emulated host's RAM may take (default: half of what is"
        " available, which workers of pytest-xdist share); a host that has more is sparse: pages of"
        " zeros are given back while it runs",
        "SIZE",
    )
    host_cpus: int | None = option(
        value.cpus,
        "CPUs of the emulated host (default: 2, or fewer where this machine has fewer); those that"
        " are more than this machine's run in turns, and count as starved while they wait",
        "N",
    )
    host_nodes: int = option(
        value.nodes,
        "NUMA nodes of the emulated host; only the first has CPUs (default: 1)",
        "N",
        default=1,
    )
    accel: str = option(
        value.Choice("auto", "kvm", "tcg"),
        "what runs the emulated host: kvm, tcg (software), or auto (default): KVM if a Xen boots"
        " with it, else TCG",
        "auto|kvm|tcg",
        default="auto",
    )
    suite: str = option(
        value.Choice("bookworm", "trixie"),
        "Debian release of the emulated host's dom0: bookworm (Xen 4.17, the default) or trixie"
        " (Xen 4.20)",
        "SUITE",
        default="bookworm",
    )
    ssh_config: Path | None = option(
        value.file,
        "ssh configuration file to use instead of your own",
        "FILE",
        beside=paths.beside,
    )
    power: tuple[str, ...] = option(
        value.power,
        "command that switches the host's power, run without a shell; {action} becomes on, off,"
        " cycle or status ({action:status=get}: get instead of status), {host} the host's name,"
        " {address} the address that ssh connects to",
        "COMMAND",
        default=(),
        beside=paths.command_beside,
    )
    serial: tuple[str, ...] = option(
        value.serial,
        "command that prints the host's serial log and ends; {host} becomes the host's name,"
        " {address} the address that ssh connects to",
        "COMMAND",
        default=(),
        beside=paths.command_beside,
    )
    toolstack: tuple[str, ...] = option(
        value.Choice("xl", "libvirt"),
        "toolstack that drives the guests: xl (default) or libvirt; may be repeated",
        "xl|libvirt",
        default=("xl",),
        many=True,
        asks_for_xen=True,
    )
    guest_type: tuple[GuestType, ...] = option(
        value.Choice("pv", "pvh", "hvm"),
        "type of guest that victims are, may be given several times: pv (default), pvh, or hvm"
        " (with xl alone); probes are PV guests",
        "pv|pvh|hvm",
        default=("pv",),
        many=True,
    )
    guest_memory: int | None = option(
        value.guest_memory,
        "memory of a victim (default: a third of the host's free memory)",
        "SIZE",
    )
    fill: FillChoice = option(
        value.fill,
        "share of its pages that a victim fills, as 1/256, 0.5 or 100%% (the default); with :SEED"
        " those that a run of that seed chose",
        "SHARE[:SEED]",
        default=FillChoice(),
    )
    min_coverage: float = option(
        value.coverage,
        "share of the freed frames that probes must read before a verdict is clean; at least 50%%"
        " (default 99%%)",
        "SHARE",
        default=0.99,
    )
    max_exposure: float = option(
        value.positive,
        "how long a destroyed guest's bytes may stay in the emulated host's RAM, in s for each GiB"
        " of the guest (default 10)",
        "SECONDS",
        default=10.0,
    )
    hang_seconds: float = option(
        value.positive,
        "seconds without progress (no page freed, scrubbed or allocated, no console output) before"
        " Xen counts as hung (default 60)",
        "SECONDS",
        default=HANG_SECONDS,
    )
    max_starvation: float = option(
        value.share,
        "share of a test's time that other work on this machine may take from the emulated host;"
        " above it the test's timings are marked ~ and --xen-fail-if ignores them (default 20%%)",
        "SHARE",
        default=STARVED_SHARE,
    )
    variant: tuple[str, ...] = option(
        value.variant,
        "Xen to test: as-is (default: the Xen that the host runs), stock, sync, tasklet, noscrub, a"
        " patch, mailbox, series folder or .cocci file, or defect:NAME, a Xen that is broken on"
        " purpose (defect:all: each of them); may be repeated",
        "NAME|FILE",
        default=("as-is",),
        many=True,
        beside=value.variant_beside,
        asks_for_xen=True,
    )
    source: str = option(
        value.source,
        "source that variants are built from: debian (default), a folder, a tarball, or a git"
        " repository as PATH#REV or URL#REV",
        "SPEC",
        default=paths.DEFAULT_SOURCE,
        beside=paths.source_beside,
    )
    config: tuple[str, ...] = option(
        value.kconfig,
        "Kconfig option of the variants, such as DEBUG=y; may be repeated",
        "KEY=VALUE",
        default=(),
        many=True,
    )
    tools: str = option(
        value.Choice("host", "build"),
        "toolstack's programs in dom0: host (default) uses those that are there; build builds those"
        " of the Xen's source if the host's do not match it or the variant changes them",
        "host|build",
        default="host",
        asks_for_xen=True,
    )
    cmdline: str = option(
        value.cmdline,
        "boot options of the Xen that is tested",
        "OPTIONS",
        default="",
    )
    control: bool = option(
        value.flag,
        "first run the tests marked `control` on a Xen that does not scrub: they must fail, and the"
        " run stops if one passes",
        default=False,
        flag=True,
        asks_for_xen=True,
    )
    results: Path | None = option(
        value.results,
        "append each result to FILE as it happens, as JSON lines",
        "FILE",
        beside=paths.beside,
    )
    profile: ProfileChoice | None = option(
        value.profile,
        "profile the emulated host's CPUs while a measured guest is destroyed, and print a table;"
        " with FOLDER, also write folded stacks for flame-graph tools there",
        "FOLDER",
        bare=True,
        beside=value.profile_beside,
    )
    compare: tuple[Row, ...] | None = option(
        value.earlier,
        "compare with an earlier run: FILE is what its --xen-results wrote",
        "FILE",
        beside=paths.beside,
    )
    fail_if: tuple[Limit, ...] = option(
        value.limit,
        "fail the run if a metric regressed by more than LIMIT against --xen-compare, or could not"
        " be compared; example: destroy:median:10%% (statistics: median, mean, min, max); may be"
        " repeated",
        "METRIC:STATISTIC:LIMIT",
        default=(),
        many=True,
    )
    columns: tuple[str, ...] = option(
        value.columns,
        "columns of the tables at the end, by their headings, separated by commas; -v shows all",
        "NAME,...",
        default=(),
    )
    plots: Path | None = option(
        value.plots,
        "write charts to FOLDER at the end, as PNG and SVG: exposure, each destroy over time,"
        " destroy time by memory size, maps of memory",
        "FOLDER",
        beside=paths.beside,
    )
    html: Path | None = option(
        value.html,
        "write one HTML page of the run to FILE when it ends, however it does: what leaked and"
        " where, what was not judged, what got slower, tables, charts",
        "FILE",
        beside=paths.beside,
    )
    logs: Path | None = option(
        value.logs,
        "folder for logs: the hosts' serial logs, Xen's log, the guests' consoles",
        "FOLDER",
        beside=paths.beside,
    )
    exit: str = option(
        value.Choice("pytest", "bisect"),
        "exit status: pytest's (default), or for `git bisect run`: 0 good, 1 a verdict against Xen,"
        " 125 anything else, 130 interrupted",
        "pytest|bisect",
        default="pytest",
    )
    repeat: int = option(value.repeat, "run each measured test N times", "N", default=1)
    show_residue: bool = option(
        value.flag,
        "print residue even if it is not the test's own pattern: it may be another guest's data",
        default=False,
        flag=True,
    )
    # fmt: on

    @property
    def compares(self) -> bool:
        """Whether the run boots another Xen than the host's own."""
        return self.control or self.variant != ("as-is",)


ALL_OPTIONS = tuple(Option.of(field) for field in dataclasses.fields(Options))
"""All options, in the order of `--help`."""


def add_options(parser: pytest.Parser) -> None:
    """Declare all options to pytest."""
    group = parser.getgroup("xenscrub", "memory scrubbing of destroyed guests on a real Xen")
    for each in ALL_OPTIONS:
        each.declare(parser, group)


def read_options(config: pytest.Config) -> Options:
    """All options of a run.

    Raises:
        pytest.UsageError: a value is invalid; the error says where it is.
    """
    options = Options(**{each.key: each.read(config) for each in ALL_OPTIONS})
    if options.fail_if and options.compare is None:
        raise pytest.UsageError("--xen-fail-if needs an earlier run: say --xen-compare=FILE")
    if "hvm" in options.guest_type and "xl" not in options.toolstack:
        raise pytest.UsageError(
            "--xen-guest-type=hvm needs --xen-toolstack=xl: our kernel is the firmware of such a"
            " guest, and libvirt has no way to replace that"
        )
    if options.guest_memory is not None and options.guest_memory * options.fill.share < PAGE:
        raise pytest.UsageError(
            f"--xen-fill: a share of {options.fill.share:.3g} fills no page of"
            f" {gib(options.guest_memory)} (--xen-guest-memory)"
        )
    if options.control and config.getoption("runxfail", default=False):
        raise pytest.UsageError(
            "--xen-control has tests that must fail, but --runxfail reports those as failed: leave"
            " one out"
        )
    return options


def bisects(config: pytest.Config) -> bool:
    """Whether `--xen-exit=bisect` is given, even if other options are wrong."""
    status = next(each for each in ALL_OPTIONS if each.key == "exit")
    try:
        return bool(status.read(config) == "bisect")
    except pytest.UsageError:
        return False


def asked_for_xen(config: pytest.Config) -> bool:
    """Whether the command line or the environment, and not only the ini file, asks for a Xen."""
    return any(each.asks_for_xen and each.given_to_this_run(config) for each in ALL_OPTIONS)
