# SPDX-License-Identifier: MIT
"""File names in options: checked, absolute, and relative to where they are written.

On the command line and in the environment, paths are relative to the working directory. In an ini
file or a file of hosts they are relative to the file's folder, as pytest's own paths are.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from pytest_xenscrub.errors import ConfigurationError

DEFAULT_SOURCE: Final = "debian"
"""Default of `--xen-source`."""
_REMOTE = re.compile(r"\w+://|\w+@[\w.-]+:")


def path_of(text: str) -> Path:
    """The absolute path for a text; expands `~`.

    Raises:
        ConfigurationError: the text is not a path.
    """
    if not text.strip():
        raise ConfigurationError("a file's or folder's name is missing")
    if not text.isprintable():
        raise ConfigurationError(f"{text!r} is not a file name: it has control characters")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigurationError(
            f"{text}: that user's home is not known", todo="write the whole path"
        ) from None


def beside(text: str, folder: Path) -> str:
    """The path for a text in a file of `folder`."""
    return text if not text or text.startswith(("/", "~")) else str(folder / text)


def source_beside(text: str, folder: Path) -> str:
    """`beside` for `--xen-source`, which may also be `debian` or an address."""
    return text if is_no_path(text) else beside(text, folder)


def is_no_path(source: str) -> bool:
    """Whether `--xen-source` names something other than a path on this machine."""
    return source == DEFAULT_SOURCE or source.startswith("debian=") or bool(_REMOTE.match(source))


def program_beside(text: str, folder: Path) -> str:
    """As `beside`, for a program: one without a folder is searched in PATH."""
    return beside(text, folder) if "/" in text else text


def command_beside(text: str, folder: Path) -> str:
    """Resolve the paths of a command in a file of `folder`.

    These are its program, if that has a folder, and words that begin with `./` or `../`.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        return text  # the option's parser reports the error
    near = [
        str(folder / word)
        if word.startswith(("./", "../")) or (number == 0 and "/" in word[1:] and word[0] != "/")
        else word
        for number, word in enumerate(words)
    ]
    return text if near == words else shlex.join(near)
