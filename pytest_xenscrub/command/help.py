# SPDX-License-Identifier: MIT
"""Show the help of a command, a page at a time on a terminal."""

from __future__ import annotations

import pydoc
import sys
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

HELP: Final = "show the help of a command"
MANUAL: Final = Manual(
    examples=(
        ("xenscrub help", "which commands there are"),
        ("xenscrub help bisect", "the arguments, examples and exit statuses of one"),
    ),
    done="shown",
    wrong="there is no such command",
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub help`."""
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="such as report")


def run(options: argparse.Namespace) -> None:
    """Show the help.

    Raises:
        ConfigurationError: there is no such command.
    """
    known = {"": options.top, **options.commands}
    told = known.get(options.command or "")
    if told is None:
        raise ConfigurationError(
            f"there is no command {options.command!r}",
            todo=f"name one of: {', '.join(options.commands)}",
        )
    if sys.stdout.isatty():
        pydoc.pager(told.format_help())
    else:
        sys.stdout.write(told.format_help())
