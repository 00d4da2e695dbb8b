# SPDX-License-Identifier: MIT
"""Explains why ssh could not connect, or why a command in dom0 failed, with advice."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.host.protocol import CommandResult
    from pytest_xenscrub.host.target import Target

_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"too long for Unix domain socket|ControlPath too long",
        "the ControlPath of your ssh configuration on the way to {name} is too long for a socket",
        "shorten it in ~/.ssh/config: ControlPath ~/.ssh/%C",
    ),
    (
        r"administratively prohibited",
        "the jump host on the way to {name} forwards no connections",
        "its sshd needs AllowTcpForwarding yes (and PermitOpen, where that is limited)",
    ),
    (
        r"No user exists for uid",
        "ssh runs for no user without a name, and this uid has none",
        "give it one (a line in /etc/passwd, nss_wrapper), or run as another user",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {name} is not the one that is known",
        "if the machine was installed anew, remove the old key: {remove}",
    ),
    (
        r"Host key verification failed|host key is known",
        "the host key of {name} is not known",
        "connect once by hand and compare the fingerprint:"
        " ssh -o StrictHostKeyChecking=ask {there} exit",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "{name} refused every key that ssh offered",
        "load the key into your agent (ssh-add), or copy it there: ssh-copy-id {host};"
        " for root, sshd needs PermitRootLogin prohibit-password",
    ),
    (
        r"Connection refused",
        "{name} refused the connection: nothing listens on that port",
        "check the port, and that sshd runs on the host",
    ),
    (
        r"Could not resolve hostname",
        "the name {name} cannot be resolved",
        "check the spelling, DNS and ~/.ssh/config",
    ),
    (
        r"timed out|No route to host|Network is unreachable",
        "{name} does not answer",
        "check that the machine is up and that the network lets ssh through",
    ),
    (
        # If a proxy dies at once, ssh prints nothing itself.
        r"kex_exchange_identification|\A\s*\Z",
        "the connection to {name} was closed before its sshd said a word",
        "where a jump host or ProxyCommand is on the way, see whether that works: ssh -v {there}"
        " exit; else its sshd limits new connections (MaxStartups), or refuses this address",
    ),
)
_PAST_THE_JUMP: Final = "open failed"
"""A jump host's message about an address that it could not connect to."""
_ON_THE_WAY: Final = re.compile(
    r"Connection refused|Could not resolve hostname"
    r"|(Permission denied|Host key verification failed|host key is known)"
    r"(?=.*kex_exchange_identification)",
    re.IGNORECASE | re.DOTALL,
)
"""Messages of a proxy on the way; ssh does not connect to the machine itself, so they are not the
machine's."""


_UNKNOWN_CAUSE: Final = ("ssh could not connect to {name}", "try it by hand: ssh -v {there} exit")
_REMOVE: Final = re.compile(r"^\s*(ssh-keygen -f .+ -R .+?)\s*$", re.MULTILINE)
_ONE_SESSION: Final = re.compile(
    r"^mux_client_request_session: session request failed: Session open refused by peer\r?\n",
    re.MULTILINE,
)
_REFUSED: Final = (
    ("No space left on device", "make room there (df -h shows where): the machine's disk is full"),
    ("Disk quota exceeded", "make room there: the quota on the machine's disk is used up"),
    ("Read-only file system", "mount it to be written to; dom0's log (dmesg) tells if it broke"),
)
"""Error messages of dom0's system for a command, with advice."""


def of_the_command(stderr: str) -> str:
    """A command's stderr, without ssh's own message about sshd's limit on sessions.

    With `MaxSessions 1` sshd allows one session for each connection; ssh then makes another
    connection by itself.
    """
    return _ONE_SESSION.sub("", stderr)


def todo_of(stderr: str) -> str:
    """Advice on an error message of dom0's system; empty if there is none."""
    return next((todo for why, todo in _REFUSED if why in stderr), "")


def why(result: CommandResult) -> str:
    """A command's exit status, and the last line of its stderr."""
    words = result.stderr.strip().splitlines()[-1:]
    return ": ".join([str(result.returncode), *words])


def _on_the_way(stderr: str) -> bool:
    """Whether a proxy on the way complained, and not the machine."""
    return bool(_ON_THE_WAY.search(stderr)) and _PAST_THE_JUMP not in stderr


def classify(
    stderr: str, target: Target, config: Path | None = None, *, proxied: bool = False
) -> InfrastructureError:
    """The error for ssh's complaint that it could not connect to `target`.

    Args:
        stderr: ssh's stderr.
        target: the address that ssh was to connect to.
        config: the configuration that ssh used, if not the user's own.
        proxied: whether ssh goes through a jump host or ProxyCommand.
    """
    there = []
    if config is not None:
        there += ["-F", str(config)]
    if target.port is not None:
        there += ["-p", str(target.port)]
    there.append(f"{target.user}@{target.host}" if target.user else target.host)
    # ssh names the file, and the name under which it has the key.
    remove = _REMOVE.search(stderr)
    what, todo = next(
        (cause[1:] for cause in _CAUSES if re.search(cause[0], stderr, re.IGNORECASE)),
        _UNKNOWN_CAUSE,
    )
    names = {
        "name": f"{target}'s jump host or ProxyCommand"
        if proxied and _on_the_way(stderr)
        else str(target),
        "host": target.host,
        "there": shlex.join(there),
        "remove": remove[1] if remove else f"ssh-keygen -R {target.host}",
    }
    return InfrastructureError(
        what.format(**names),
        tried=f"ssh {names['there']}",
        todo=todo.format(**names),
        evidence={"ssh": stderr},
    )
