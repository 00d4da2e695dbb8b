# SPDX-License-Identifier: MIT
"""Runs labgrid's program: lists places, reserves one, and asks what it has.

labgrid is never imported, because its program has a Python environment of its own. A place stays
acquired when the client that acquired it is killed. So each run has a different name at labgrid,
under which another process can release its place: see `labgrid_owner`.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError, MissingToolError
from pytest_xenscrub.host.command import run_command
from pytest_xenscrub.user import user_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAM: Final = "labgrid-client"
INSTALL: Final = "pipx install labgrid"
ANSWER_SECONDS: Final = 60.0
"""Limit of one call of the program, which starts within a second or two."""
_UNSET: Final = ("LG_ENV", "LG_PLACE", "LG_STATE", "LG_INITIAL_STATE", "LG_TOKEN")
"""Variables of the user's environment that would make the program use other places."""


@dataclass(frozen=True)
class Place:
    """A place, as labgrid describes it.

    Attributes:
        name: the place's name.
        tags: the place's tags, as `TAG=VALUE`, with its name as `name=NAME`.
        acquired: who has the place, as HOST/USER; empty for a free place.
        changed: when that changed last.
        reserved: whether the place is allotted to a reservation.
    """

    name: str
    tags: frozenset[str]
    acquired: str
    changed: str
    reserved: bool

    def __str__(self) -> str:
        if self.acquired:
            return f"{self.name} ({self.acquired}, since {self.changed})"
        return f"{self.name} ({'reserved' if self.reserved else 'free'})"


@dataclass(frozen=True)
class Reserved:
    """A reservation: a turn in labgrid's queue.

    Attributes:
        token: the reservation's name.
        state: waiting, allocated, acquired, expired, invalid.
        place: the place that the reservation got; empty while it waits.
    """

    token: str
    state: str
    place: str


class Labgrid:
    """Runs labgrid's program under a name of this run.

    Args:
        program: the program's name or path.
        tag: the run's tag.

    Attributes:
        owner: the run's name at labgrid: HOST/USER.TAG.

    Raises:
        MissingToolError: the program is not installed.
    """

    def __init__(self, program: str, tag: str) -> None:
        path = shutil.which(program)
        if path is None:
            raise missing(program)
        self._path = path
        self._host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
        user = re.sub(r"[^\w.-]", "-", os.environ.get("LG_USERNAME") or user_name())
        self.owner = f"{self._host}/{user}.{tag}"
        self.own_runs = re.compile(rf"{re.escape(f'{self._host}/{user}')}\.xenscrub-[0-9a-f]{{6}}")

    def command(self, *words: str) -> list[str]:
        """The command line that runs the program."""
        user = self.owner.partition("/")[2]
        unset = [word for name in _UNSET for word in ("-u", name)]
        return [
            "env", *unset, f"LG_HOSTNAME={self._host}", f"LG_USERNAME={user}", self._path, *words
        ]  # fmt: skip

    def run(self, step: str, *words: str, seconds: float = ANSWER_SECONDS) -> str:
        """Run the program, and return its output.

        Raises:
            InfrastructureError: the program failed; its output is in the error.
            DeadlineExceededError: the program did not end in time.
        """
        return run_command(
            literal(self.command(*words)), {}, Deadline.after(seconds, f"labgrid: {step}")
        )

    def places(self) -> list[Place]:
        """All places, with who has each."""
        text = self.run("asking for its places", "-v", "places")
        return [_place(name, block) for name, block in _blocks(text, "Place")]

    def reserve(self, wanted: Iterable[str]) -> Reserved:
        """Reserve a place with all these tags."""
        return _reserved(self.run("reserving a place", "reserve", *wanted))

    def wait(self, token: str, seconds: float) -> Reserved:
        """Wait for a reservation's turn; labgrid drops a reservation after a minute without a wait.

        Raises:
            DeadlineExceededError: the turn did not come.
        """
        return _reserved(self.run("waiting for a place", "wait", token, seconds=seconds))

    def resources(self, place: str) -> dict[str, dict[str, Any]]:
        """The resources of an acquired place: the parameters of each, by its class.

        Has the first of several resources of one class.
        """
        found: dict[str, dict[str, Any]] = {}
        text = self.run(f"asking what {place} has", "-p", place, "show")
        for path, block in _blocks(text, "Acquired resource"):
            try:
                told = ast.literal_eval(textwrap.dedent(block))
                found.setdefault(told["cls"], told["params"])
            except (ValueError, SyntaxError, KeyError, TypeError):
                raise _not_understood(f"resource {path}:\n{block}") from None
        return found


def missing(program: str) -> MissingToolError:
    """The error that labgrid's program is not installed."""
    return MissingToolError(
        f"{program}, labgrid's program, is not installed",
        todo=f"{INSTALL}; where it is in no folder of PATH: --xen-labgrid-client=PROGRAM",
    )


def literal(words: Iterable[str]) -> list[str]:
    """Escape words without placeholders, for a command that may have placeholders."""
    return [word.replace("{", "{{").replace("}", "}}") for word in words]


def _blocks(text: str, kind: str) -> Iterator[tuple[str, str]]:
    """The indented text below each line `KIND 'NAME'...:`, with the name."""
    begin = re.compile(rf"{kind} '(.+?)'.*:$")
    name, lines = "", list[str]()
    for line in [*text.splitlines(), ""]:
        if line.startswith(" "):
            lines.append(line)
            continue
        if name:
            yield name, "\n".join(lines)
        match = begin.fullmatch(line)
        name, lines = (match[1] if match else ""), []


def _place(name: str, block: str) -> Place:
    said = dict(re.findall(r"^  (tags|acquired|changed|reservation): (.*)$", block, re.MULTILINE))
    if "acquired" not in said:
        raise _not_understood(f"Place '{name}':\n{block}")
    tags = {tag for tag in said.get("tags", "").split(", ") if tag}
    return Place(
        name,
        frozenset(tags | {f"name={name}"}),
        "" if said["acquired"] == "None" else said["acquired"],
        said.get("changed", "?").partition(".")[0],
        "reservation" in said,
    )


def _reserved(text: str) -> Reserved:
    """Parse a reservation; `wait` prints its new state each second, and the last one counts."""
    token = re.findall(r"^ *token: (\S+)$", text, re.MULTILINE)
    state = re.findall(r"^ *state: (\S+)$", text, re.MULTILINE)
    place = re.findall(r"^ *allocations:\n *main: (\S+)$", text, re.MULTILINE)
    if not token or not state or (state[-1] == "allocated" and not place):
        raise _not_understood(text)
    return Reserved(token[-1], state[-1], place[-1] if place else "")


def _not_understood(text: str) -> InfrastructureError:
    return InfrastructureError(
        "labgrid's program answers in words that are not known here",
        todo="use labgrid 26.0, with which this was tried",
        evidence={"it said": text[-2000:]},
    )
