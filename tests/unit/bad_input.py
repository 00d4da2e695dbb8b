# SPDX-License-Identifier: MIT
"""A mistake of a user's, or a fault of a machine's, as a row of a table; and how one is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import pytest_xenscrub

Setup = Callable[[Path, pytest.MonkeyPatch], None]
EMULATED = "--xen-host=emulated"
ON_HOST = "def test_it(xen_host): pass"
NAMELESS = ("unshare", "--user", "--map-user=4321", "--")
"""A uid that has no name, no home, and no right to what others closed to it."""
_ROOT = Path(pytest_xenscrub.__file__).parents[1]


@dataclass(frozen=True)
class Bad:
    """One row.

    Attributes:
        name: of the row.
        arguments: of pytest; `{here}` is the working folder.
        words: what the message must have in it.
        status: the exit status: 4 for a mistake of the user's, 75 for a fault of the machine's.
        files: what is in the working folder, by name; a name that ends with / is a folder.
        env: environment variables; None unsets one.
        ini: lines of the ini file.
        test: the test that is run.
        setup: more that must be so: called with the working folder.
        prefix: a command before pytest's, which then runs in a process of its own.
        lines: at most so many lines may the message have.
    """

    name: str
    arguments: tuple[str, ...]
    words: str
    status: int = 4
    files: dict[str, str | bytes] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)
    ini: str = ""
    test: str = ON_HOST
    setup: Setup | None = None
    prefix: tuple[str, ...] = ()
    lines: int = 8


@dataclass(frozen=True)
class Told:
    """What a user sees of a run: its exit status and all that it printed."""

    status: int
    text: str

    @property
    def message(self) -> list[str]:
        """The lines of the one error: of a usage error, or of the test that could not be set up."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        for number, line in enumerate(lines):
            if line.startswith("ERROR: "):
                return lines[number:]
        starts = [n for n, line in enumerate(lines) if line.startswith("____")]
        assert starts, self.text
        body = lines[starts[0] + 1 :]
        # Below it pytest prints what was captured, what is known of the host, and its summary.
        end = next(n for n, line in enumerate(body) if line.startswith(("----", "====")))
        return body[:end]


def prepare(bad: Bad, here: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make a row's folder and environment; gives pytest's arguments."""
    files: dict[str, str | bytes] = {"test_it.py": bad.test, "pytest.ini": f"[pytest]\n{bad.ini}"}
    for name, content in (files | bad.files).items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    for key, value in bad.env.items():
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, value.replace("{here}", str(here)))
    monkeypatch.chdir(here)
    if bad.setup is not None:
        bad.setup(here, monkeypatch)
    arguments = [each.replace("{here}", str(here)) for each in bad.arguments]
    return ["-p", "no:cacheprovider", f"--rootdir={here}", *arguments, "test_it.py"]


def run_here(pytester: pytest.Pytester, arguments: list[str]) -> Told:
    """Run pytest in this process."""
    result = pytester.runpytest_inprocess(*arguments)
    return Told(int(result.ret), "\n".join([*result.outlines, *result.errlines]))


def run_apart(prefix: list[str], arguments: list[str]) -> Told:
    """Run pytest in a process of its own, without a terminal."""
    command = [*prefix, sys.executable, "-m", "pytest", *arguments]
    # Unbuffered: what goes to stdout and stderr stays in order.
    environment = {
        **os.environ, "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=60, start_new_session=True,
    )  # fmt: skip
    return Told(done.returncode, done.stdout.decode(errors="replace"))


def children() -> set[int]:
    """Processes that this one has started and that are there."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(word) for word in (task / "children").read_text().split()}
        except FileNotFoundError:
            continue  # a thread that has just ended
    return found
