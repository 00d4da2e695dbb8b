# SPDX-License-Identifier: MIT
"""Tell which hosts there are, which are free, and who has the others; nothing there is changed."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tabulate import tabulate

from pytest_xenscrub.command import hosts_check, xen_options
from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.host.description import make_pool

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
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
        ("xenscrub hosts --check --xen-host=root@lab7", "whether runs can use that machine"),
    ),
    done="at least one host was reached, or all are out of use; with --check: all are ready",
    wrong="wrong usage, or no host is named",
    failed="none of the hosts can be reached; with --check: one is not ready",
    see=("docs/how-to/lab-hosts.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub hosts`."""
    xen_options.declare(parser, "host", "hosts_file", "ssh_config", "power", "serial")
    parser.add_argument(
        "--check",
        action="store_true",
        help="check whether runs can use each machine; exit status 75 if one is not ready",
    )
    parser.add_argument(
        "--format",
        choices=hosts_check.FORMATS,
        default="text",
        help="output format of --check (default: text)",
    )


def run(options: argparse.Namespace) -> None:
    """Look at all hosts at once, and print a line for each; with `--check` a list for each.

    Raises:
        ConfigurationError: no host is named, or the options contradict each other.
        InfrastructureError: none of the hosts can be reached; or one is not ready.
    """
    out = [host for host in options.hosts_file if host.broken and not options.host]
    known = [host for host in options.hosts_file if host not in out]
    pool = make_pool(options.host, known)
    if not pool and not out:
        raise ConfigurationError(
            "no host is named", todo="say --xen-hosts-file=FILE, or --xen-host=[user@]host[:port]"
        )
    if options.check:
        _check(options, pool, out)
        return
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


def _check(
    options: argparse.Namespace, pool: Sequence[HostDescription], out: Sequence[HostDescription]
) -> None:
    """Check all machines at once, and print what was found.

    Raises:
        ConfigurationError: nothing can be checked.
        InfrastructureError: runs cannot use a machine.
    """
    machines = [
        dataclasses.replace(
            host, power=host.power or options.power, serial=host.serial or options.serial
        )
        for host in pool
        if host.target is not None
    ]
    if not machines:
        raise ConfigurationError(
            "there is no machine to check",
            todo="name one that ssh reaches; labgrid's places and the emulated host have none, and"
            " machines out of use are left out",
        )
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = threads.map(lambda host: hosts_check.checked(host, options.ssh_config), machines)
        findings = {host.name: each for host, each in zip(machines, found, strict=True)}
    print(hosts_check.shown(findings, options.format))
    for host in out:
        print(f"{host.name}: not checked, out of use: {host.broken}", file=sys.stderr)
    for host in pool:
        if host.target is None:
            print(f"{host.name}: not checked, not a machine that ssh reaches", file=sys.stderr)
    if bad := [name for name, each in findings.items() if not hosts_check.is_ready(each)]:
        raise InfrastructureError(f"not ready: {', '.join(bad)}")


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
