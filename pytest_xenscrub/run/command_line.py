# SPDX-License-Identifier: MIT
"""The command that started a run, for its results and its page."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.options import ALL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

_SECRET: Final = ("power", "serial")
"""Options whose values are commands and may contain a password."""
_HIDDEN: Final = "..."


def command_line(config: pytest.Config) -> str:
    """The command, with the tool's own environment variables before it.

    Leaves out the commands that switch power or read a serial log, because many people may see a
    page.
    """
    variables = [
        f"{each.variable}={_HIDDEN if each.key in _SECRET else shlex.quote(value)}"
        for each in ALL_OPTIONS
        if (value := os.environ.get(each.variable))
    ]
    words = _without_secrets(map(str, config.invocation_params.args))
    return " ".join([*variables, "pytest", *map(shlex.quote, words)])


def _without_secrets(words: Iterable[str]) -> list[str]:
    names = "|".join(f"--xen-{name}|(?:-o|--override-ini=)?xen_{name}" for name in _SECRET)
    known: list[str] = []
    for word in words:
        if known and known[-1] in [f"--xen-{name}" for name in _SECRET]:
            known.append(_HIDDEN)
        else:
            known.append(re.sub(rf"^({names})=.*", rf"\1={_HIDDEN}", word, flags=re.DOTALL))
    return known
