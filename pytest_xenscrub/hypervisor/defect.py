# SPDX-License-Identifier: MIT
"""The collection of broken Xens, `--xen-variant=defect:NAME`, which a suite must notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_xenscrub.errors import ConfigurationError

PREFIX: Final = "defect:"
ALL: Final = "defect:all"
FOLDER: Final = Path(__file__).parent / "defects"


@dataclass(frozen=True)
class Catch:
    """A test that must fail on a defect.

    Attributes:
        test: an expression for `-k`.
        suite: the mark of the test: quick, slow or large.
        says: words of its failure.
        options: further options of the run, which the defect needs to show.
        passes: options with which the same test passes, if `options` make it fail.
    """

    test: str
    suite: str
    says: str
    options: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Defect:
    """A Xen that is broken on purpose.

    Attributes:
        name: name of its file, without `.cocci`.
        breaks: what is wrong with it.
        in_xen: the releases of Xen that had this fault; empty if none had it.
        caught: the tests that must fail.
    """

    name: str
    breaks: str
    in_xen: str
    caught: tuple[Catch, ...]

    @property
    def path(self) -> Path:
        """The defect's semantic patch."""
        return FOLDER / f"{self.name}.cocci"


def load_defects() -> dict[str, Defect]:
    """Load the collection, by name."""
    told = tomllib.loads((FOLDER / "defects.toml").read_text(encoding="utf-8"))
    return {name: _defect(name, **table) for name, table in told.items()}


def _defect(name: str, breaks: str, caught: list[dict[str, Any]], in_xen: str = "") -> Defect:
    catches = tuple(
        Catch(
            str(each["test"]),
            str(each["suite"]),
            str(each["says"]),
            tuple(each.get("options", ())),
            tuple(each.get("passes", ())),
        )
        for each in caught
    )
    return Defect(name, breaks, in_xen, catches)


def defect_path(spec: str) -> Path:
    """The path of the semantic patch for `defect:NAME`.

    Raises:
        ConfigurationError: there is no such defect.
    """
    defects = load_defects()
    name = spec.removeprefix(PREFIX)
    if name not in defects:
        raise ConfigurationError(
            f"--xen-variant={spec}: there is no such defect",
            todo=f"give {ALL}, or one of: {', '.join(defects)}",
        )
    return defects[name].path


def each_of(spec: str) -> list[str]:
    """The variants of one value of `--xen-variant`: for `defect:all` each defect."""
    return [PREFIX + name for name in load_defects()] if spec == ALL else [spec]
