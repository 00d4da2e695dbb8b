# SPDX-License-Identifier: MIT
"""Tell which hosts there are, which are free, and who has the others; nothing there is changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from pytest_xenscrub.command import xen_options
from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.host.description import make_pool

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from pytest_xenscrub.dom0.lock_look import LockState
    from pytest_xenscrub.host.description import HostDescription

HELP: Final = "which hosts are free, and who has the others"
_LOOK_SECONDS: Final = 60.0
_AT_ONCE: Final = 16
_HEADER: Final = ("host", "state", "who", "on", "since", "what for", "tags")
MANUAL: Final = Manual(
    examples=(
        ("xenscrub hosts --xen-hosts-file=lab.toml", "all machines of a lab"),
        ("xenscrub hosts --xen-host=root@lab7", "one machine"),
    ),
    done="at least one host was reached; or all are out of use",
    wrong="wrong usage, or no host is named",
    failed="none of the hosts can be reached",
    see=("docs/how-to/lab-hosts.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub hosts`."""
    xen_options.declare(parser, "host", "hosts_file", "ssh_config")


def run(options: argparse.Namespace) -> None:
    """Look at all hosts at once, and print a line for each.

    Raises:
        ConfigurationError: no host is named, or the options contradict each other.
        InfrastructureError: none of the hosts can be reached.
    """
    out = [host for host in options.hosts_file if host.broken and not options.host]
    known = [host for host in options.hosts_file if host not in out]
    pool = make_pool(options.host, known)
    if not pool and not out:
        raise ConfigurationError(
            "no host is named", todo="say --xen-hosts-file=FILE, or --xen-host=[user@]host[:port]"
        )
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        looks = list(threads.map(lambda host: _look(host, options.ssh_config), pool))
    lines = [_line(host, seen) for host, seen in zip(pool, looks, strict=True)]
    lines += [_cells(host, f"out of use: {host.broken}") for host in out]
    print(tabulate(lines, headers=_HEADER, disable_numparse=True))
    lost = {
        host.name: seen for host, seen in zip(pool, looks, strict=True) if isinstance(seen, str)
    }
    for name, why in lost.items():
        print(f"{name}: {why}")
    if pool and len(lost) == len(pool):
        raise InfrastructureError("no host can be reached")


def _look(described: HostDescription, config: Path | None) -> LockState | str:
    """A host's lock; or a line that says why it cannot be read."""
    from pytest_xenscrub.boot.login import check_login  # noqa: PLC0415 - after --help
    from pytest_xenscrub.dom0.lock_look import LockState, look  # noqa: PLC0415 - as above
    from pytest_xenscrub.host.ssh import SshHost  # noqa: PLC0415 - as above

    if described.target is None:
        return LockState(in_use=False, who=None)
    deadline = Deadline.after(_LOOK_SECONDS, f"{described.name}: looking who has it")
    try:
        host = SshHost(described.target, config=config, name=described.name)
        try:
            check_login(host, deadline)
            return look(host, deadline)
        finally:
            host.close()
    except InfrastructureError as error:
        why = error.what.removeprefix(f"{described.name}: ")
        return " ".join(f"{why} ({error.todo})".split()) if error.todo else why


def _line(host: HostDescription, seen: LockState | str) -> list[str]:
    if isinstance(seen, str):
        return _cells(host, "unreachable")
    if host.place:
        return _cells(host, "labgrid's: see labgrid-client places")
    who = seen.who or {}
    state = "in use" if seen.in_use else "free"
    if seen.in_use and not who:
        state = "in use: a run is just starting or ending"
    elif who.get("rebooting"):
        state = "in use: it is being rebooted"
    elif who and not seen.in_use:
        state = "free: that run is dead"
    told = [str(who.get(key, "")) for key in ("owner", "machine", "since", "purpose")]
    return _cells(host, state, *told)


def _cells(host: HostDescription, state: str, *told: str) -> list[str]:
    """A line of the table.

    Args:
        host: the host.
        state: its state.
        told: who has it, on which machine, since when, what for; nothing for a free host.
    """
    tags = " ".join(sorted({*host.tags, *host.toolstacks}))
    return [host.name, state, *(told or ("",) * 4), tags]
