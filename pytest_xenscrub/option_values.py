# SPDX-License-Identifier: MIT
"""Parsers for the values of options, one for each kind.

Each raises `ConfigurationError` for an invalid text.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.option_paths import beside, is_no_path, path_of
from pytest_xenscrub.units import GIB, MIB, gib, parse_size

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.guest.sample import FillChoice
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.report.gate import Limit
    from pytest_xenscrub.report.wanted import ProfileChoice
    from pytest_xenscrub.scrub.row import Row

_MOST_REPEATS = 1000
_LEAST_HOST = 1536 * MIB
"""Least memory of a host: dom0 has 1 GiB of it, and Xen needs some for itself."""
_MOST_HOST = 1024 * GIB
_LEAST_COVERAGE = 0.5
_LEAST_GUEST = 8 * MIB
_LONGEST_SECONDS = 30 * 86400.0


def host(text: str) -> HostDescription:
    """A machine to test on."""
    from pytest_xenscrub.host.description import parse_host  # noqa: PLC0415 - only if there is one

    return parse_host(text)


def program(text: str) -> str:
    """A program: the path of a file, or a name that is searched in PATH when it is needed."""
    if "/" not in text:
        return text
    path = file(text)
    if not os.access(path, os.X_OK):
        raise ConfigurationError(f"{path}: it is no program: it cannot be executed")
    return str(path)


def power(text: str) -> tuple[str, ...]:
    """A command that switches power, in words."""
    from pytest_xenscrub.host.power import parse_power  # noqa: PLC0415 - as above

    return parse_power(text)


def serial(text: str) -> tuple[str, ...]:
    """A command that prints a serial log, in words."""
    from pytest_xenscrub.host.power import parse_serial  # noqa: PLC0415 - as above

    return parse_serial(text)


def hosts_file(text: str) -> tuple[HostDescription, ...]:
    """The machines in a file of hosts."""
    from pytest_xenscrub.host.hosts_file import load_hosts  # noqa: PLC0415 - as above

    return load_hosts(file(text))


def file(text: str) -> Path:
    """A file that exists."""
    path = path_of(text)
    if not path.is_file():
        there = "it is not a file" if path.exists() else "there is no such file"
        raise ConfigurationError(f"{path}: {there}")
    if not os.access(path, os.R_OK):
        raise ConfigurationError(f"{path}: you may not read it")
    return path


def variant(text: str) -> str:
    """A variant's name or file; loaded as a check."""
    from pytest_xenscrub.hypervisor.defect import each_of  # noqa: PLC0415 - as above
    from pytest_xenscrub.hypervisor.variant import load_variant  # noqa: PLC0415 - as above

    if not text.strip():
        raise ConfigurationError("a variant's name or file is missing")
    for name in each_of(text):
        load_variant(name)
    return text


def source(text: str) -> str:
    """The source of variants; a path on this machine must exist."""
    if is_no_path(text):
        return text
    name, mark, revision = text.partition("#")
    path = path_of(name)
    if not path.exists():
        raise ConfigurationError(
            f"{path}: there is no such folder or file",
            todo="give `debian`, a folder, a git repository as PATH#REV or URL#REV, or a tarball",
        )
    return f"{path}{mark}{revision}"


def cmdline(text: str) -> str:
    """Boot options for Xen: one line."""
    if not text.isprintable():
        raise ConfigurationError(
            f"{text!r} is not a line of boot options: it has control characters"
        )
    return text


def host_memory(text: str) -> int:
    """Memory of the emulated host, in whole MiB."""
    return _size(text, _LEAST_HOST, _MOST_HOST) // MIB * MIB


def guest_memory(text: str) -> int:
    """Memory of a victim."""
    return _size(text, _LEAST_GUEST, _MOST_HOST)


def _size(text: str, least: int, most: int) -> int:
    size = parse_size(text)
    if not least <= size <= most:
        raise ConfigurationError(
            f"{text!r} is too {'little' if size < least else 'much'}",
            todo=f"give a size from {gib(least)} to {gib(most)}",
        )
    return size


def variant_beside(text: str, folder: Path) -> str:
    """As `beside`, for a variant's name or file."""
    from pytest_xenscrub.hypervisor.defect import PREFIX  # noqa: PLC0415 - only if there is one
    from pytest_xenscrub.hypervisor.variant import BUILT_IN  # noqa: PLC0415 - as above

    return text if text in BUILT_IN or text.startswith(PREFIX) else beside(text, folder)


def kconfig(text: str) -> str:
    """A Kconfig option with its value."""
    from pytest_xenscrub.hypervisor.kconfig import parse_option  # noqa: PLC0415 - as above

    parse_option(text)
    return text


def results(text: str) -> Path:
    """A file that results can be appended to."""
    from pytest_xenscrub.report.results import ResultsFile  # noqa: PLC0415 - as above

    path = path_of(text)
    ResultsFile(path).check()
    return path


def profile(text: str) -> ProfileChoice | None:
    """Whether to profile, and a folder to write to."""
    from pytest_xenscrub.report.wanted import ProfileChoice  # noqa: PLC0415 - as above

    with contextlib.suppress(ConfigurationError):
        return ProfileChoice(None) if flag(text) else None
    path = path_of(text)
    if path.is_file() or next(path.rglob("*.py"), None) is not None or "::" in text:
        raise ConfigurationError(
            f"{text}: these are tests, and no folder for profiles",
            todo="write --xen-profile=FOLDER, or put the tests before --xen-profile",
        )
    return ProfileChoice(_folder(path))


def profile_beside(text: str, folder: Path) -> str:
    """As `beside`, for the value of --xen-profile: a word, or a folder."""
    try:
        flag(text)
    except ConfigurationError:
        return beside(text, folder)
    return text


def plots(text: str) -> Path:
    """A folder for charts."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError(
            "matplotlib, which draws charts, is not installed",
            todo="pip install 'pytest-xenscrub[plots]'",
        )
    return _folder(path_of(text))


def html(text: str) -> Path:
    """A file that a page can be written to; not created yet."""
    if importlib.util.find_spec("jinja2") is None:
        raise ConfigurationError(
            "jinja2, which makes the page, is not installed",
            todo="pip install 'pytest-xenscrub[html]'",
        )
    path = path_of(text)
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path}: cannot be written: it is not a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(
            f"{path}: cannot be written",
            todo="name a file in a folder that is there and that you can write",
        )
    return path


def _folder(path: Path) -> Path:
    """A folder that can be written; created now, so that an error shows at once."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise ConfigurationError(f"{path}: cannot be written")
    return path


def columns(text: str) -> tuple[str, ...]:
    """Headings of columns, separated by commas."""
    from pytest_xenscrub.report.table import NAMES  # noqa: PLC0415 - as above

    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} is not a column", todo=f"choose of: {', '.join(NAMES)}"
        )
    return names


def earlier(text: str) -> tuple[Row, ...]:
    """The rows of an earlier run."""
    # Read now, because this run may append to the same file.
    from pytest_xenscrub.report.results import read_results  # noqa: PLC0415 - as above

    return tuple(read_results(file(text)))


def limit(text: str) -> Limit:
    """A limit on how much worse a figure may be."""
    from pytest_xenscrub.report.gate import parse_limit  # noqa: PLC0415 - as above

    return parse_limit(text)


def logs(text: str) -> Path:
    """A folder for logs."""
    return _folder(path_of(text))


def share(text: str) -> float:
    """A share above 0 and up to 1, such as 0.99 or 99%."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise ConfigurationError(f"{text!r} is not a share", todo="write it as 0.99 or 99%")
    return value


def fill(text: str) -> FillChoice:
    """A share of a victim's pages, and optionally the seed of the choice, hex."""
    from pytest_xenscrub.guest.sample import FillChoice  # noqa: PLC0415 - as above

    said, colon, seed = text.partition(":")
    if colon and not re.fullmatch("0*[1-9a-f][0-9a-f]{0,7}", seed):
        raise ConfigurationError(
            f"{seed!r} is not a seed", todo="give the fill_seed of a result: up to 8 hex digits"
        )
    chosen = FillChoice(_fraction(said), int(seed, 16) if colon else None)
    chosen.sample(seed=1)
    return chosen


def _fraction(text: str) -> float:
    """As `share`, or a fraction."""
    parts = re.fullmatch("([0-9]{1,12})/([1-9][0-9]{0,11})", text)
    value = int(parts[1]) / int(parts[2]) if parts else share(text)
    if not 0 < value <= 1:
        raise ConfigurationError(f"{text!r} is not a share", todo="write it as 1/256, 0.5 or 50%")
    return value


def coverage(text: str) -> float:
    """Least coverage of a clean verdict: at least a half, because `0.99%` is probably a mistake."""
    value = share(text)
    if value < _LEAST_COVERAGE:
        raise ConfigurationError(
            f"{text!r} is too little to call memory clean",
            todo=f"give a share from {_LEAST_COVERAGE:.0%} on, as 0.99 or 99%",
        )
    return value


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{text!r} is not a number above 0")
    return value


def repeat(text: str) -> int:
    """The number of repeats of each test."""
    return _count(text, _MOST_REPEATS, "repeats")


def cpus(text: str) -> int:
    """A number of CPUs that the emulated host can have."""
    from pytest_xenscrub.host.emulated.spec import MOST_CPUS  # noqa: PLC0415 - as above

    return _count(text, MOST_CPUS, "CPUs")


def nodes(text: str) -> int:
    """A number of NUMA nodes that the emulated host can have."""
    from pytest_xenscrub.host.emulated.numa import MOST_NODES  # noqa: PLC0415 - as above

    return _count(text, MOST_NODES, "NUMA nodes")


def _count(text: str, most: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise ConfigurationError(
            f"{text!r} is not a number of {what}", todo=f"give a number from 1 to {most}"
        )
    return int(text)


def seconds(text: str) -> float:
    """A time, s."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= _LONGEST_SECONDS:
        raise ConfigurationError(f"{text!r} is not a time", todo="write it in seconds, as 600")
    return value


def flag(text: str) -> bool:
    """Yes or no; an empty text is no."""
    values = {"1": True, "true": True, "yes": True, "on": True}
    values |= {"0": False, "false": False, "no": False, "off": False, "": False}
    if text.lower() not in values:
        raise ConfigurationError(f"{text!r} is neither yes nor no")
    return values[text.lower()]


class Choice:
    """A parser that accepts one of the given words."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __call__(self, text: str) -> str:
        """The text, if it is one of the words."""
        if text not in self.known:
            raise ConfigurationError(f"{text!r} is not one of: {', '.join(self.known)}")
        return text
