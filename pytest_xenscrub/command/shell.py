# SPDX-License-Identifier: MIT
"""Boot the emulated host with the chosen Xen, and be root in its dom0; it ends with the shell."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.command import xen_options
from pytest_xenscrub.command.manual import Manual

if TYPE_CHECKING:
    import argparse

HELP: Final = "open a root shell in the dom0 of an emulated host"
MANUAL: Final = Manual(
    examples=(
        ("xenscrub shell --xen-variant=fix.patch", "a shell in the dom0 of that Xen"),
        ("xenscrub shell -- xl info", "one command in place of a shell"),
    ),
    done="what the shell, or the command, ended with; so are all other statuses",
    wrong="wrong usage; or a patch does not apply, or does not compile",
    failed="a program is missing, or the host does not boot",
    cache=True,
    see=("docs/how-to/install.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub shell`."""
    xen_options.declare(
        parser, "suite", "host_memory", "host_ram_limit", "host_cpus", "host_nodes", "accel",
        "variant", "source", "config", "cmdline",
    )  # fmt: skip
    parser.add_argument("command", nargs="*", help="command to run instead of a shell")


def run(options: argparse.Namespace) -> int:
    """Boot the host, and run the shell or the command; gives its exit status.

    Raises:
        XenScrubError: the Xen cannot be built, or does not boot.
    """
    from pytest_xenscrub.boot.deploy_emulated import (  # noqa: PLC0415 - after --help
        EmulatedChoice,
        EmulatedDeployment,
    )

    xens = xen_options.xens_of(options)
    choice = EmulatedChoice(
        options.suite, options.host_memory, options.host_nodes, accel=options.accel,
        ram_limit=options.host_ram_limit, cpus=options.host_cpus,
    )  # fmt: skip
    deployment = EmulatedDeployment(
        xens.get(xens.names[-1]), choice, tools_for=xens.tools_for, say=xen_options.say
    )
    try:
        host = deployment.start()
        command = options.command or ["bash", "-l"]
        return subprocess.call(
            host.ssh_command(command, tty=sys.stdin.isatty() and not options.command)
        )
    finally:
        deployment.stop(broken=False)
