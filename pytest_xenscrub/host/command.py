# SPDX-License-Identifier: MIT
"""Runs commands of the user on this machine, such as those for a host's power or serial log."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import string
import subprocess
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_xenscrub.deadline import Deadline

_SECRET_NAMES = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|_KEY\b", re.IGNORECASE)
_LEAST_SECRET = 4
"""Least length of values that are hidden: shorter ones, such as 1 or yes, occur everywhere."""
_SHOWN = 2000
_OTHER_WORD = re.compile(r"([\w-]+)=([^=,{}]+)")


class Translated(str):
    """The value of a placeholder, for which a command may have another word.

    With `{action:status=get,cycle=reset}`, `status` becomes `get`, and `on` stays `on`.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """The command's own word, if it has one."""
        return dict(other_words(spec)).get(str(self), str(self))


def other_words(spec: str) -> Iterator[tuple[str, str]]:
    """The pairs of words in `status=get,cycle=reset`.

    Raises:
        ValueError: the text has another form.
    """
    for pair in spec.split(",") if spec else ():
        match = _OTHER_WORD.fullmatch(pair)
        if match is None:
            raise ValueError(f"{spec!r} is not of the form word=other,word=other")
        yield match[1], match[2]


def run_command(words: Sequence[str], values: Mapping[str, str], deadline: Deadline) -> str:
    """Run a command with its placeholders filled in, and return its output.

    Uses no shell. Errors do not show the values of password variables of the environment.

    Raises:
        InfrastructureError: the command failed, or cannot be run; its output is in the error.
        DeadlineExceededError: the command did not end in time.
    """
    argv = [word.format_map(values) for word in words]
    shown = without_secrets(shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=max(0.01, deadline.remaining),
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise deadline.error(command=shown, output=_end_of(late.stdout or b"")) from None
    except OSError as error:
        raise InfrastructureError(
            f"{deadline.step}: the command cannot be run: {error.strerror}", tried=shown
        ) from None
    if done.returncode != 0:
        raise InfrastructureError(
            f"{deadline.step}: the command returned {done.returncode}",
            tried=shown,
            todo="try it by hand",
            evidence={"output": _end_of(done.stdout)},
        )
    return done.stdout.decode(errors="replace")


def parse_command(
    text: str,
    what: str,
    *,
    required: frozenset[str],
    optional: frozenset[str],
    example: str,
    translated: Mapping[str, frozenset[str]] | None = None,
) -> tuple[str, ...]:
    """Split a command line as a shell does, and check its placeholders.

    Args:
        text: the command line.
        what: what the command is, for errors: "power command".
        required: names of placeholders that the command must have.
        optional: names of further placeholders that it may have.
        example: a correct command.
        translated: placeholders that become `Translated`, each with its possible values.

    Returns:
        The program and its arguments, with their placeholders.

    Raises:
        ConfigurationError: the text is not a command, has wrong placeholders, or its program is
            missing.
    """

    def wrong(why: str) -> ConfigurationError:
        shown = without_secrets(text)
        return ConfigurationError(f"{shown!r} is no {what}: {why}", todo=f"as: {example}")

    try:
        words = tuple(shlex.split(text))
        fields = set(_fields(words, translated or {}))
    except ValueError as error:
        raise wrong(str(error).lower()) from None
    if not words:
        raise wrong("it is empty")
    if unknown := sorted(fields - required - optional):
        names = ", ".join(f"{{{name}}}" for name in unknown)
        raise wrong(f"{names} means nothing here; a brace of its own is written twice")
    if missing := sorted(required - fields):
        raise wrong(f"it lacks {', '.join(f'{{{name}}}' for name in missing)}")
    if "{" not in words[0] and shutil.which(words[0]) is None:
        raise wrong(f"there is no program {words[0]}")
    return words


def _fields(words: Iterable[str], translated: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """The placeholders of all words, with their format specifications.

    Raises:
        ValueError: a specification has another word for a value that never occurs.
    """
    for word in words:
        for _, name, spec, conversion in string.Formatter().parse(word):
            if name is None:
                continue
            known = translated.get(name)
            if known is None or conversion:
                shown = f":{spec}" if spec else ""
                yield name + (f"!{conversion}" if conversion else "") + shown
                continue
            if unknown := [ours for ours, _ in other_words(spec or "") if ours not in known]:
                raise ValueError(
                    f"{{{name}}} is never {unknown[0]}, but: {', '.join(sorted(known))}"
                )
            yield name


def without_secrets(text: str) -> str:
    """Hide the values of password variables of the environment in a text.

    A command may print them.
    """
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAMES.search(name) and len(value) >= _LEAST_SECRET
    }
    # The longest first, because one value may be part of another.
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _end_of(output: bytes) -> str:
    return without_secrets(output.decode(errors="replace"))[-_SHOWN:]
