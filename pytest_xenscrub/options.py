# SPDX-License-Identifier: MIT
"""What the user asked for: command line before environment before ini file, each value checked."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_xenscrub import option_paths as paths
from pytest_xenscrub import option_values as value
from pytest_xenscrub.deadline import HANG_SECONDS, STARVED_SHARE
from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.report.records import ProfileChoice
    from pytest_xenscrub.scrub.row import Row

_LONGEST_LINE = 400


@dataclass(frozen=True)
class Option:
    """One setting: `--xen-guest-memory`, `PYTEST_XEN_GUEST_MEMORY`, `xen_guest_memory`."""

    key: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    default: Any = None
    many: bool = False
    flag: bool = False
    bare: bool = False
    """Whether it may be given without a value, and then means yes."""
    beside: Callable[[str, Path], str] | None = None
    """For what names a file or folder: what a text means in a file of that folder."""

    @property
    def argument(self) -> str:
        """On the command line."""
        return "--xen-" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """In the environment; values of an option that may be repeated are parted by blanks."""
        return "PYTEST_XEN_" + self.key.upper()

    @property
    def ini(self) -> str:
        """In the ini file."""
        return "xen_" + self.key


OPTIONS = (
    Option(
        "host", value.host,
        "machine to test on: [user@]host[:port] of a dom0, a name from --xen-hosts-file, or"
        " 'emulated'; of several the first that is free, or one for each worker of pytest-xdist",
        "HOST", (), many=True,
    ),
    Option("hosts_file", value.hosts_file, "the lab's machines, as TOML (see README)", "FILE", (),
           beside=paths.beside),
    Option(
        "lock_wait", value.seconds,
        "how long to wait for a machine that another run has, in s (default 0: do not)", "S", 0.0,
    ),
    Option(
        "allow_busy", value.flag, "use a machine although guests run there that are not ours",
        flag=True, default=False,
    ),
    Option(
        "host_memory", value.host_memory,
        "memory of the emulated host (default: half of what is available, 8 GiB at most)", "SIZE",
    ),
    Option(
        "host_nodes", value.nodes,
        "NUMA nodes of the emulated host, all but the first of them without CPUs (default: 1)", "N",
        1,
    ),
    Option(
        "accel", value.choice("auto", "kvm", "tcg"),
        "what runs the emulated host: kvm, tcg (software), or auto (default): KVM where a Xen boots"
        " with it, else TCG", "auto|kvm|tcg", "auto",
    ),
    Option(
        "suite", value.choice("bookworm", "trixie"),
        "Debian release of the emulated host's dom0: bookworm (Xen 4.17, the default) or trixie"
        " (Xen 4.20)", "SUITE", "bookworm",
    ),
    Option(
        "ssh_config", value.file, "ssh configuration file to use in place of your own", "FILE",
        beside=paths.beside,
    ),
    Option(
        "power", value.power,
        "command that switches the host's power: {action} in it becomes on, off, cycle or status,"
        " {host} the host's name, {address} what ssh connects to; no shell runs it",
        "COMMAND", (), beside=paths.command_beside,
    ),
    Option(
        "serial", value.serial,
        "command that prints the host's serial log and ends; {host} in it becomes the host's name,"
        " {address} what ssh connects to",
        "COMMAND", (), beside=paths.command_beside,
    ),
    Option(
        "toolstack", value.choice("xl", "libvirt"),
        "what drives the guests, may be given several times: xl (default) or libvirt",
        "xl|libvirt", ("xl",), many=True,
    ),
    Option(
        "guest_type", value.choice("pv", "pvh"),
        "type of guest that victims are, may be given several times: pv (default) or pvh; probes"
        " are PV guests", "pv|pvh", ("pv",), many=True,
    ),
    Option(
        "guest_memory", value.guest_memory, "memory of a victim (default: a third of what is free)",
        "SIZE",
    ),
    Option(
        "min_coverage", value.share,
        "share of the freed frames that must have been read for a verdict of clean (default 99%%)",
        "SHARE", 0.99,
    ),
    Option(
        "max_exposure", value.positive,
        "how long bytes of a destroyed guest may stay in the emulated host's RAM, s for each GiB"
        " (default 10)", "SECONDS", 10.0,
    ),
    Option(
        "hang_seconds", value.positive,
        "for how long nothing may move (no page freed, scrubbed or given, no word on a console)"
        " before Xen counts as hung, in s (default 60)", "SECONDS", HANG_SECONDS,
    ),
    Option(
        "max_starvation", value.share,
        "share of a test for which this machine may keep the emulated host from running: above it"
        " the test's timings are marked, and --xen-fail-if leaves them out (default 20%%)",
        "SHARE", STARVED_SHARE,
    ),
    Option(
        "variant", value.variant,
        "Xen to test, may be given several times: stock, sync, tasklet, noscrub, as-is (whatever"
        " the host runs, the default), or a patch, mailbox, series folder or .cocci file",
        "NAME|FILE", ("as-is",), many=True, beside=value.variant_beside,
    ),
    Option(
        "source", value.source,
        "where variants are built from: debian (default), a folder, a git repository PATH#REV or"
        " URL#REV, a tarball", "SPEC", "debian", beside=paths.source_beside,
    ),
    Option("config", value.kconfig, "Kconfig option for variants, may be repeated", "KEY=VALUE", (),
           many=True),
    Option(
        "tools", value.choice("host", "build"),
        "tools that drive the Xen: the host's own (default), or, where those do not match it or"
        " the variant changes them, build the tree's", "host|build", "host",
    ),
    Option("cmdline", value.cmdline, "boot options for the Xen that is tested", "OPTIONS", ""),
    Option(
        "control", value.flag,
        "first run the tests that must fail on a Xen that does not scrub, on one that does not:"
        " the session stops if one passes", flag=True, default=False,
    ),
    Option(
        "results", value.results, "append each result to FILE as it happens, as JSON lines", "FILE",
        beside=paths.beside,
    ),
    Option(
        "profile", value.profile,
        "look where the CPUs are while a measured guest is destroyed, on the emulated host, and"
        " show it as a table; with FOLDER, write folded stacks for flame-graph tools there",
        "FOLDER", bare=True, beside=value.profile_beside,
    ),
    Option(
        "compare", value.earlier,
        "compare with an earlier run: a FILE that --xen-results has written", "FILE",
        beside=paths.beside,
    ),
    Option(
        "fail_if", value.limit,
        "fail the run if a figure of any test is worse than in --xen-compare's by more than that,"
        " or was not compared; may be repeated: destroy:median:10%% (statistics: median, mean, min,"
        " max)", "METRIC:STATISTIC:LIMIT", (), many=True,
    ),
    Option(
        "plots", value.plots,
        "write charts to FOLDER when all is done, as PNG and SVG: exposure, courses of destroys,"
        " destroy against memory, maps of memory", "FOLDER", beside=paths.beside,
    ),
    Option(
        "logs", value.logs, "folder for what hosts and guests say: serial logs, Xen's, consoles",
        "FOLDER", beside=paths.beside,
    ),
    Option(
        "exit", value.choice("pytest", "bisect"),
        "exit status: as pytest has it (default), or for git bisect run: 0 good, 1 a verdict"
        " against Xen, 125 everything else, 130 interrupted", "pytest|bisect", "pytest",
    ),
    Option("repeat", value.repeat, "run each measured test N times", "N", 1),
    Option(
        "show_residue", value.flag,
        "print bytes that are not of our own pattern, which may be someone's data", flag=True,
        default=False,
    ),
)  # fmt: skip

_ASK_FOR_XEN = ("host", "hosts_file", "variant", "toolstack", "tools", "control")


@dataclass(frozen=True)
class Settings:
    """What a run is to do; sizes in bytes."""

    host: tuple[HostDescription, ...]
    hosts_file: tuple[HostDescription, ...]
    lock_wait: float
    allow_busy: bool
    host_memory: int | None
    host_nodes: int
    accel: str
    suite: str
    ssh_config: Path | None
    power: tuple[str, ...]
    serial: tuple[str, ...]
    toolstack: tuple[str, ...]
    guest_type: tuple[GuestType, ...]
    guest_memory: int | None
    min_coverage: float
    max_exposure: float
    hang_seconds: float
    max_starvation: float
    variant: tuple[str, ...]
    source: str
    config: tuple[str, ...]
    tools: str
    cmdline: str
    control: bool
    results: Path | None
    profile: ProfileChoice | None
    compare: tuple[Row, ...] | None
    fail_if: tuple[Limit, ...]
    plots: Path | None
    logs: Path | None
    exit: str
    repeat: int
    show_residue: bool

    @property
    def compares(self) -> bool:
        """Whether another Xen than the host's own is to run."""
        return self.control or self.variant != ("as-is",)


def add_options(parser: pytest.Parser) -> None:
    """Declare all options to pytest."""
    group = parser.getgroup("xenscrub", "memory scrubbing of destroyed guests on a real Xen")
    for option in OPTIONS:
        extra: dict[str, Any] = {"metavar": option.metavar}
        if option.flag:
            extra = {"action": "store_const", "const": "yes"}
        elif option.many:
            extra["action"] = "append"
        elif option.bare:
            extra |= {"nargs": "?", "const": "yes"}
        shown = f"{option.help} [env {option.variable}, ini {option.ini}]"
        group.addoption(option.argument, dest=option.ini, default=None, help=shown, **extra)
        kind: Literal["linelist", "string"] = "linelist" if option.many else "string"
        # Here pytest does not format it, as argparse does above.
        parser.addini(option.ini, option.help.replace("%%", "%"), kind)


def read_settings(config: pytest.Config) -> Settings:
    """All settings of a run.

    Raises:
        pytest.UsageError: one cannot be meant; says where it stands.
    """
    settings = Settings(**{option.key: _read(config, option) for option in OPTIONS})
    if settings.fail_if and settings.compare is None:
        raise pytest.UsageError("--xen-fail-if needs an earlier run: say --xen-compare=FILE")
    return settings


def bisects(config: pytest.Config) -> bool:
    """Whether the exit status is for `git bisect run`, however wrong other settings are."""
    option = next(option for option in OPTIONS if option.key == "exit")
    try:
        return bool(_read(config, option) == "bisect")
    except pytest.UsageError:
        return False


def asked_for_xen(config: pytest.Config) -> bool:
    """Whether this very run, and not an ini file that also serves others, asks for a Xen."""
    options = [option for option in OPTIONS if option.key in _ASK_FOR_XEN]
    return any(
        texts
        for option in options
        for where, texts in _given(config, option)
        if not where.startswith("ini option")
    )


def _given(config: pytest.Config, option: Option) -> Iterator[tuple[str, list[str]]]:
    """Where a value may stand, first the one that wins, and what stands there."""
    said = config.getoption(option.ini)
    yield option.argument, [] if said is None else said if option.many else [said]
    variable = os.environ.get(option.variable, "")
    yield (
        f"environment variable {option.variable}",
        (variable.split() if option.many else [variable] if variable else []),
    )
    written = config.getini(option.ini)
    texts = written if option.many else [written] if written else []
    if option.beside is not None:
        # As pytest has it for its own options.
        folder = config.inipath.parent if config.inipath else config.invocation_params.dir
        texts = [option.beside(text, folder) for text in texts]
    yield f"ini option {option.ini}", texts


def _read(config: pytest.Config, option: Option) -> Any:
    for where, texts in _given(config, option):
        if not texts:
            continue
        try:
            values = [option.parse(text) for text in texts]
        except ConfigurationError as error:
            raise pytest.UsageError(f"{where}: {_shortened(str(error))}") from None
        except (OSError, ValueError) as error:  # a name too long, a folder in place of a patch
            why = getattr(error, "strerror", None) or error
            named = getattr(error, "filename", None) or " ".join(texts)
            raise pytest.UsageError(f"{where}: {_shortened(f'{named}: {why}')}") from None
        return tuple(values) if option.many else values[0]
    return option.default


def _shortened(text: str) -> str:
    """A message in which no line is longer than anybody reads."""
    half = _LONGEST_LINE // 2
    return "\n".join(
        line if len(line) <= _LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"
        for line in text.splitlines()
    )


assert [o.key for o in OPTIONS] == [f.name for f in dataclasses.fields(Settings)]  # noqa: S101
