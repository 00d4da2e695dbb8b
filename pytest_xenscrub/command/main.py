# SPDX-License-Identifier: MIT
"""Show results of pytest-xenscrub, find the commit that broke Xen, and manage the cache."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Final

from pytest_xenscrub import __version__
from pytest_xenscrub.command import (
    bisect,
    clean,
    completion,
    hosts,
    prepare,
    report,
    shell,
)
from pytest_xenscrub.command import (
    help as help_,
)
from pytest_xenscrub.command.manual import FAILED, INTERRUPTED, NOBODY_READS, USAGE_ERROR
from pytest_xenscrub.command.xen_options import complete
from pytest_xenscrub.errors import ConfigurationError, XenScrubError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 78


def parser() -> argparse.ArgumentParser:
    """The parser of `xenscrub` and its subcommands."""
    top = argparse.ArgumentParser(
        prog="xenscrub", description=__doc__, epilog="more about a command: xenscrub help COMMAND"
    )
    top.add_argument("--version", action="version", version=f"pytest-xenscrub {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (report, bisect, hosts, prepare, shell, clean, completion, help_):
        told = commands.add_parser(
            module.__name__.rpartition(".")[-1],
            help=module.HELP,
            description=_filled(module.__doc__ or ""),
            epilog=str(module.MANUAL),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.declare(told)
        told.set_defaults(run=module.run, top=top, commands=commands.choices)
    return top


def _filled(text: str) -> str:
    """A text with its paragraphs filled, because argparse shows it as it is."""
    return "\n\n".join(textwrap.fill(part, _WIDTH) for part in text.split("\n\n"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit status."""
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:  # argparse has printed why
        return USAGE_ERROR if end.code == 2 else int(end.code or 0)  # noqa: PLR2004 - its own
    try:
        complete(options)
        status: int = options.run(options) or 0
        sys.stdout.flush()
    except ConfigurationError as error:
        print(f"xenscrub: {error}", file=sys.stderr)
        return USAGE_ERROR
    except XenScrubError as error:
        print(f"xenscrub: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # by `| head`, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return NOBODY_READS
    return status
