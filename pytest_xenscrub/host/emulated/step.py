# SPDX-License-Identifier: MIT
"""Runs a step of an image's build, with progress lines, and explains a failure."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import spawn

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

_SHOWN_LINES = 6
AS_ROOT_OF_ITS_OWN = ("unshare", "--user", "--map-root-user", "--map-auto", "--")
_NAMESPACES = (
    "run as root; or let users have namespaces (sysctl user.max_user_namespaces,"
    " kernel.apparmor_restrict_unprivileged_userns) and give this one a range in /etc/subuid and"
    " /etc/subgid; a container needs --security-opt seccomp=unconfined for that"
)
_CAUSES = (
    (r"No space left|Disk quota", "make room on the cache's disk, or set XDG_CACHE_HOME"),
    (r"[ug]id_map\b.*not permitted", _NAMESPACES),
    (
        r"canmount|mount\b.*(denied|not permitted)|unshare.*(denied|not permitted)",
        "this container may not mount: run it with --cap-add=SYS_ADMIN and"
        " --security-opt apparmor=unconfined, or --privileged",
    ),
    (
        r"resolv|Failed to fetch|Could not connect|Unable to connect|timed out",
        "check the Debian mirror in /etc/apt, DNS and the proxy; the next run starts anew",
    ),
    (r"", "check the Debian mirror and the free space of disk; the next run starts anew"),
)
"""Patterns in the log of a failed build, with advice; the first that matches counts."""
_STEP_SECONDS = 5.0
"""Time between two progress lines of a build, s."""


def search_path() -> str:
    """PATH, with the folders of system programs that an ordinary user's PATH lacks."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def check_namespaces() -> None:
    """Raise `InfrastructureError` if an ordinary user cannot build an image here."""
    if os.geteuid() == 0:
        return
    command = [*AS_ROOT_OF_ITS_OWN, "true"]
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfrastructureError(
            "the emulated host's image cannot be built: this user may not create user namespaces",
            tried=shlex.join(command),
            todo=_NAMESPACES,
            evidence={"unshare": _last_lines(done.stderr, 2)},
        )


def run_step(
    command: list[str],
    work: Path,
    what: str,
    say: Say,
    deadline: Deadline,
    *,
    stdout: Path | None = None,
) -> None:
    """Run one step of the build, with a progress line now and then."""
    log = work / "log"
    started = time.monotonic()
    # The user that a namespace maps may have no access to the user's own temporary folder.
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8"}
    with log.open("wb") as err, (stdout or log).open("ab") as out:
        child = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        with child:
            try:
                while True:
                    try:
                        code = child.wait(timeout=_STEP_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        say(f"building {what}: {time.monotonic() - started:.0f} s")
                        deadline.check(log=_tail(log))
            except BaseException:
                # mmdebstrap removes its temporary root after SIGTERM, but not if it is killed.
                spawn.end(child, 20)
                raise
    if code != 0:
        said = _tail(log)
        raise InfrastructureError(
            f"building the {what} failed: {command[0]} returned {code}",
            tried=shlex.join(command),
            todo=next(todo for words, todo in _CAUSES if re.search(words, said, re.IGNORECASE)),
            evidence={command[0]: _last_lines(said, _SHOWN_LINES)},
        )


def _tail(path: Path) -> str:
    return _last_lines(path.read_text(errors="replace"), 20) if path.exists() else ""


def _last_lines(text: str, count: int) -> str:
    return "\n".join(text.splitlines()[-count:])
