# SPDX-License-Identifier: MIT
"""The command that runs a test again, on the same Xen and the same kind of host."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_xenscrub.report.outcome import Outcome
    from pytest_xenscrub.report.results import RunResults
    from pytest_xenscrub.scrub.row import Row

_KEPT: Final = (
    "variant", "toolstack", "guest-type", "repeat",  # a test's id has them, where they are several
    "source", "config", "cmdline", "tools", "suite", "accel", "host-memory", "host-ram-limit",
    "host-cpus", "host-nodes", "hosts-file", "ssh-config", "guest-memory", "fill", "max-exposure",
    "hang-seconds", "max-starvation", "min-coverage",
)  # fmt: skip
"""Options of a run that decide on what a test runs, and what its id is; all have a value."""
_CONTROL: Final = "--xen-control"
_SUITE: Final = "pytest_xenscrub.suite"


def again(test: Outcome, rows: Sequence[Row], runs: Sequence[RunResults]) -> str:
    """The command that runs a test again.

    It is made of the command of the test's run. A run that was cut short does not tell its command:
    then options say what the test's row does, and not what Xen was built from.

    Args:
        test: the test.
        rows: rows, of which the last one of the test says on which host it ran.
        runs: the runs; of a test without a row it is the last one that had it.
    """
    settings = [row.setting for row in rows if row.setting.test == test.test]
    started = settings[-1].started if settings else ""
    known = [
        run.known for run in runs
        if run.known and (run.started == started if settings else test.test in run.tests)
    ]  # fmt: skip
    variables, words = _said(known[-1]) if known else ([], [])
    if words:
        host = settings[-1].host if settings else "HOST"
        options = [f"--xen-{name}={value}" for name, value in _values(words) if name in _KEPT]
        options += [_CONTROL] if _CONTROL in words else []
        chosen = _test(test.test, words)
        told = shlex.join(["pytest", *chosen, f"--xen-host={host}", *options])
        return "".join(f"{each} " for each in variables) + told
    if not settings:
        return shlex.join(["pytest", test.test, "--xen-host=HOST"])
    one = settings[-1]
    variant = [] if one.variant == "as-is" else [f"--xen-variant={one.variant}"]
    return shlex.join([
        "pytest", one.test, f"--xen-host={one.host}", f"--xen-toolstack={one.toolstack}", *variant,
        f"--xen-guest-type={one.guest_type}",
    ])  # fmt: skip


def _said(known: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """The environment variables, quoted, and the words of a run's command; both may be empty."""
    try:
        words = shlex.split(str(known.get("command", "")))
    except ValueError:  # the file was changed by hand
        return [], []
    first = words.index("pytest") if "pytest" in words else 0
    names = tuple(f"PYTEST_XEN_{name.upper().replace('-', '_')}=" for name in _KEPT)
    variables = [word.partition("=") for word in words[:first] if word.startswith(names)]
    return [f"{name}={shlex.quote(value)}" for name, _, value in variables], words[first:]


def _values(words: Sequence[str]) -> list[tuple[str, str]]:
    """The options of ours that have a value, as `--xen-name=value` or in two words."""
    found = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, mark, value = word.partition("=")
        if name.startswith("--xen-") and (mark or not following.startswith("-")):
            found.append((name.removeprefix("--xen-"), value if mark else following))
    return found


def _test(name: str, words: Sequence[str]) -> list[str]:
    """The arguments that choose the test: of the installed suite by its module."""
    path, mark, inside = name.partition("::")
    if _SUITE not in words:
        return [name]
    return ["--pyargs", f"{_SUITE}.{PurePath(path).stem}{mark}{inside}"]
