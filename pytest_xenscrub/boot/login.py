# SPDX-License-Identifier: MIT
"""Checks that ssh's login in a dom0 can run commands: root, and a plain shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

OLDEST_PYTHON = (3, 6)
_BEGIN, _END = "xenscrub begins!", "xenscrub ends!"
# A line end and an exclamation mark within quotes, which csh cannot handle.
_PROBE = f"""
echo '{_BEGIN}'
id -u
id -un
echo "$SHELL"
python3 -c 'import sys; print(*sys.version_info[:2])' 2> /dev/null || echo none
echo '{_END}'
"""


def check_login(host: Host, deadline: Deadline) -> None:
    """Check that the login shell runs commands unchanged.

    Raises:
        InfrastructureError: the login is not root's, its shell prints or is not compatible with sh,
            or Python is missing or too old; the error says what to change.
    """
    done = host.run(["sh", "-c", _PROBE], deadline=deadline, check=False)
    before, begun, rest = done.stdout.partition(f"{_BEGIN}\n")
    facts, ended, after = rest.partition(f"{_END}\n")
    words = facts.splitlines()
    if not begun or not ended or len(words) != 4:  # noqa: PLR2004 - as many as are asked for
        raise InfrastructureError(
            f"{host.name}: its login shell does not run a command as it was sent",
            tried="a shell script of several lines",
            todo="give that user bash or sh as its shell (chsh -s /bin/sh); csh and fish quote"
            " in another way",
            evidence={"stdout": done.stdout[-1000:], "stderr": done.stderr[-1000:]},
        )
    uid, user, shell, python = words
    if uid != "0":
        raise InfrastructureError(
            f"{host.name}: ssh logs in as {user}, and only root may drive Xen",
            todo="log in as root (--xen-host=root@HOST, or user in the hosts file) with a key;"
            " sudo is not used; sshd needs PermitRootLogin prohibit-password",
        )
    if before or after:
        raise InfrastructureError(
            f"{host.name}: its login shell, {shell}, prints lines of its own into every answer",
            todo="in its start files (.bashrc, /etc/profile.d, .cshrc) print only on a terminal:"
            " [ -t 1 ] || return",
            evidence={"printed": (before + after)[-500:]},
        )
    _check_python(host, python)


def _check_python(host: Host, python: str) -> None:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if python == "none":
        raise InfrastructureError(
            f"{host.name}: dom0 has no python3", todo=f"install Python {oldest} or later in dom0"
        )
    if tuple(map(int, python.split())) < OLDEST_PYTHON:
        raise InfrastructureError(
            f"{host.name}: python3 in dom0 is Python {'.'.join(python.split())}, which is too old",
            todo=f"install Python {oldest} or later in dom0, as python3",
        )
