# SPDX-License-Identifier: MIT
"""Reads `--xen-hosts-file`, a lab's hosts in TOML; errors name the line of each mistake.

[hosts.lab7]
address = "lab7.example.org"
power = "ipmitool -I lanplus -H lab7-bmc -U ci -f /etc/lab7.bmc power {action}"
tags = ["numa"]
"""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.description import EMULATED, TOOLSTACKS, HostDescription
from pytest_xenscrub.host.next_boot import parse_boot
from pytest_xenscrub.host.power import parse_power, parse_serial
from pytest_xenscrub.host.target import MAX_PORT, Target, parse_target
from pytest_xenscrub.option_paths import command_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_NAME = re.compile(r"[\w.-]+")


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.startswith("-"):
        raise ValueError(f"{value!r} is not a name: letters, digits, '.', '_' and '-'")
    return value


def _address(value: object) -> str:
    # An IPv6 address needs no brackets here: the port is a key of its own.
    text = _text(value)
    target = parse_target(f"[{text}]" if ":" in text else text)
    if target.user is not None:
        raise ValueError(f"{value!r} names a user, which is a key of its own")
    return target.host


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not text")
    return value


def _line(value: object) -> str:
    text = _text(value)
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{value!r} is no reason: write one line")
    return text.strip()


def _port(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_PORT:
        raise ValueError(f"{value!r} is not a port number")
    return value


def _list(value: object, item: Callable[[object], str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{value!r} is not a list: write it as ["one", "two"]')
    return tuple(dict.fromkeys(item(each) for each in value))


def _toolstack(value: object) -> str:
    if value not in TOOLSTACKS:
        raise ValueError(f"{value!r} is not one of: {', '.join(TOOLSTACKS)}")
    return str(value)


_KEYS: dict[str, Callable[[object], Any]] = {
    "address": _address,
    "user": _name,
    "port": _port,
    "power": lambda value: parse_power(_text(value)),
    "serial": lambda value: parse_serial(_text(value)),
    "boot": lambda value: parse_boot(_text(value)),
    "broken": _line,
    "toolstacks": lambda value: _list(value, _toolstack),
    "tags": lambda value: _list(value, _name),
}

_COMMANDS = ("power", "serial", "boot")


def load_hosts(path: Path) -> tuple[HostDescription, ...]:
    """Read the file's hosts, in its order.

    Raises:
        ConfigurationError: the file cannot be read, or is invalid; the message has file, line and
            key.
    """
    text, document = _read(path)
    file = _File(path, text)
    file.check_keys(document, ("hosts",))
    hosts = document.get("hosts")
    if not isinstance(hosts, dict) or not hosts:
        raise ConfigurationError(f"{path}: it names no host", todo="begin one with [hosts.NAME]")
    return tuple(file.describe(name, table) for name, table in hosts.items())


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the file; gives its text and its TOML document."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not text", todo="write it as TOML, in UTF-8") from None
    except ValueError as error:  # tomllib's message, which has the line
        raise ConfigurationError(f"{path}: {error}") from None


class _File:
    """A file of hosts, whose errors name its lines."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def wrong(self, why: str, *keys: str, todo: str = "") -> ConfigurationError:
        """The error for something invalid in the file."""
        where = f"{self._path}:{line_of(self._text, keys)}: {'.'.join(keys)}"
        return ConfigurationError(f"{where}: {why}", todo=todo)

    def check_keys(self, table: dict[str, Any], names: Iterable[str], *above: str) -> None:
        """Raise unless all of a table's keys are known."""
        for key in table:
            if key not in names:
                near = difflib.get_close_matches(key, names, 1)
                todo = f"did you mean {near[0]}?" if near else f"known are: {', '.join(names)}"
                raise self.wrong("there is no such key", *above, key, todo=todo)

    def describe(self, name: str, table: object) -> HostDescription:
        """Make a host of its table."""
        if not isinstance(table, dict):
            todo = f"begin it with [hosts.{name}]"
            raise self.wrong("it is not a table", "hosts", name, todo=todo)
        try:
            _name(name)
        except ValueError as error:
            raise self.wrong(str(error), "hosts", name) from None
        if name == EMULATED:
            raise self.wrong("that is not a machine: say --xen-host=emulated", "hosts", name)
        self.check_keys(table, _KEYS, "hosts", name)
        values = {key: self._value(name, key, value) for key, value in table.items()}
        where = Target(values.pop("address", name), values.pop("user", None),
                       values.pop("port", None))  # fmt: skip
        tags = frozenset(values.pop("tags", ()))
        return HostDescription(name, where, tags=tags, **values)

    def _value(self, name: str, key: str, value: object) -> Any:
        """Parse the value of a host's key."""
        if key in _COMMANDS and isinstance(value, str):
            value = command_beside(value, self._path.parent)
        try:
            return _KEYS[key](value)
        except (ValueError, ConfigurationError) as error:
            raise self.wrong(str(error).splitlines()[0], "hosts", name, key) from None


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """Find the line, from 1, on which a TOML document first mentions a key.

    `tomllib` does not tell. So this parses the document up to each of its lines. Where that
    succeeds, a statement ends; the first such line after which the key exists is the line of the
    key.
    """
    lines = text.splitlines()
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # the line is inside a statement
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            break
        start = end
    return start + 1
