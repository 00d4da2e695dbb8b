# SPDX-License-Identifier: MIT
"""`Option`: a value from the command line, else the environment, else the ini file."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LONGEST_LINE = 400


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: `--xen-guest-memory`, `PYTEST_XEN_GUEST_MEMORY`, `xen_guest_memory`.

    Attributes:
        key: the field's name.
        parse: parses a text, or raises `ConfigurationError`.
        help: the text for `--help`, as argparse formats it.
        metavar: the name of the value in `--help`.
        default: the value if the option is not given.
        many: whether the option may be repeated.
        flag: whether the option has no value on the command line.
        bare: whether the option may be given without a value, which then means yes.
        beside: resolves a file or folder in a file of a given folder; for options that name one.
        asks_for_xen: whether the option shows that the user wants to test a Xen.
    """

    key: str
    parse: Callable[[str], Any]
    help: str
    metavar: str
    default: Any
    many: bool
    flag: bool
    bare: bool
    beside: Callable[[str, Path], str] | None
    asks_for_xen: bool

    @classmethod
    def of(cls, field: dataclasses.Field[Any]) -> Option:
        """The option that a field of `Options` declares."""
        return cls(field.name, default=field.default, **field.metadata)

    @property
    def argument(self) -> str:
        """The option's name on the command line."""
        return "--xen-" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The option's environment variable; blanks separate repeated values."""
        return "PYTEST_XEN_" + self.key.upper()

    @property
    def ini(self) -> str:
        """The option's name in the ini file."""
        return "xen_" + self.key

    def declare(self, parser: pytest.Parser, group: pytest.OptionGroup) -> None:
        """Declare the option to pytest, for the command line and the ini file."""
        extra: dict[str, Any] = {"metavar": self.metavar}
        if self.flag:
            extra = {"action": "store_const", "const": "yes"}
        elif self.many:
            extra["action"] = "append"
        elif self.bare:
            extra |= {"nargs": "?", "const": "yes"}
        shown = f"{self.help} [env {self.variable}, ini {self.ini}]"
        group.addoption(self.argument, dest=self.ini, default=None, help=shown, **extra)
        kind: Literal["linelist", "string"] = "linelist" if self.many else "string"
        # pytest does not format this text, but argparse formats the one above.
        parser.addini(self.ini, self.help.replace("%%", "%"), kind)

    def given_to_this_run(self, config: pytest.Config) -> bool:
        """Whether the option is given on the command line or in the environment."""
        return bool(self._on_command_line(config) or self._in_environment())

    def read(self, config: pytest.Config) -> Any:
        """The option's value, from the first place that has it.

        Raises:
            pytest.UsageError: the value is invalid; the error says where it is.
        """
        if texts := self._on_command_line(config):
            return self._parsed(texts, self.argument)
        if texts := self._in_environment():
            return self._parsed(texts, f"environment variable {self.variable}")
        if texts := self._in_ini_file(config):
            return self._parsed(texts, f"ini option {self.ini}")
        return self.default

    def of_environment(self) -> Any:
        """The option's value in the environment, or its default.

        Raises:
            ConfigurationError: the value is invalid.
        """
        texts = self._in_environment()
        if not texts:
            return self.default
        try:
            values = [self.parse(text) for text in texts]
        except ConfigurationError as error:
            raise ConfigurationError(f"environment variable {self.variable}: {error}") from None
        return tuple(values) if self.many else values[0]

    def _on_command_line(self, config: pytest.Config) -> list[str]:
        said = config.getoption(self.ini)
        return [] if said is None else said if self.many else [said]

    def _in_environment(self) -> list[str]:
        variable = os.environ.get(self.variable, "")
        return variable.split() if self.many else [variable] if variable else []

    def _in_ini_file(self, config: pytest.Config) -> list[str]:
        written = config.getini(self.ini)
        texts: list[str] = written if self.many else [written] if written else []
        if self.beside is None:
            return texts
        # As for pytest's own options.
        folder = config.inipath.parent if config.inipath else config.invocation_params.dir
        return [self.beside(text, folder) for text in texts]

    def _parsed(self, texts: list[str], where: str) -> Any:
        try:
            values = [self.parse(text) for text in texts]
        except ConfigurationError as error:
            raise pytest.UsageError(f"{where}: {_shortened(str(error))}") from None
        except (OSError, ValueError) as error:  # such as a folder in place of a patch
            why = getattr(error, "strerror", None) or error
            named = getattr(error, "filename", None) or " ".join(texts)
            raise pytest.UsageError(f"{where}: {_shortened(f'{named}: {why}')}") from None
        return tuple(values) if self.many else values[0]


def option(
    parse: Callable[[str], Any],
    help: str,  # noqa: A002 - as pytest and argparse call it
    metavar: str = "",
    *,
    default: Any = None,
    many: bool = False,
    flag: bool = False,
    bare: bool = False,
    beside: Callable[[str, Path], str] | None = None,
    asks_for_xen: bool = False,
) -> Any:
    """Declare an option as a field of `Options`. Arguments: see `Option`."""
    return dataclasses.field(
        default=default,
        metadata={
            "parse": parse, "help": help, "metavar": metavar, "many": many, "flag": flag,
            "bare": bare, "beside": beside, "asks_for_xen": asks_for_xen,
        },
    )  # fmt: skip


def _shortened(text: str) -> str:
    """A message with its long lines shortened."""
    half = _LONGEST_LINE // 2
    return "\n".join(
        line if len(line) <= _LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"
        for line in text.splitlines()
    )
