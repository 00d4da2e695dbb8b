# SPDX-License-Identifier: MIT
"""The plugin's own options, by the same names, for commands that need a Xen or a host."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.choice import Xens
from pytest_xenscrub.option_places import Option
from pytest_xenscrub.option_values import Choice
from pytest_xenscrub.options import Options
from pytest_xenscrub.telling import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Container


def declare(parser: argparse.ArgumentParser, *keys: str) -> None:
    """Declare some of the plugin's options to argparse; the ini file is pytest's alone."""
    for option in _options(keys):
        parser.add_argument(
            option.argument, dest=option.key, metavar=option.metavar,
            action="append" if option.many else "store", type=typed(option.parse),
            choices=option.parse.known if isinstance(option.parse, Choice) else None,
            help=f"{option.help} [env {option.variable}]",
        )  # fmt: skip


def _options(keys: Container[str]) -> list[Option]:
    known = (Option.of(field) for field in dataclasses.fields(Options))
    return [option for option in known if option.key in keys]


def typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of the plugin's as argparse takes it, which tells what is wrong."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def complete(options: argparse.Namespace) -> None:
    """Add options from the environment, and defaults, to those of the command line.

    Raises:
        ConfigurationError: an environment variable has an invalid value.
    """
    for option in _options(vars(options)):
        if getattr(options, option.key) is None:
            setattr(options, option.key, option.of_environment())


def xens_of(options: argparse.Namespace) -> Xens:
    """The Xens of `--xen-variant` and related options, for complete options."""
    return Xens(
        options.variant,
        source=options.source,
        config=options.config,
        cmdline=options.cmdline,
        build_tools=False,
        say=say,
        update=quiet,
    )


def say(line: str) -> None:
    """Print a line: something has happened, or takes long."""
    print(line, flush=True)
