# SPDX-License-Identifier: MIT
"""Checks what a file of results says, before anything is told of it.

What is no number compares with nothing, and a verdict that nobody knows is not residue: either
would be shown as if all were well. Keys that are unknown are passed over, as later versions may
have them. Each function raises TypeError or ValueError where a line is no result.
"""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import chain
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from pytest_xenscrub.report.outcome import Outcome
from pytest_xenscrub.scrub.row import Row, Setting, row_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

VERDICTS: Final = ("clean", "residue", "unproven", None)
_MOST: Final = 1 << 63
"""No count or size is as much; more than 10**308 could not even be divided."""
_PAIR: Final = 2


def object_of(line: str) -> dict[str, Any]:
    """The JSON object of a line, all of whose numbers are finite."""
    known = json.loads(line, parse_constant=_none, parse_float=_finite, parse_int=_whole)
    if not isinstance(known, dict):
        raise TypeError("this is no object")
    return known


def _none(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _none(text)


def _whole(text: str) -> int:
    value = int(text)
    return value if abs(value) < _MOST else _none(text)


def row_of(flat: Mapping[str, Any]) -> Row:
    """The row that a line is."""
    row = row_from(dict(flat))
    _check_types(row.setting)
    _check_types(row)
    if row.verdict not in VERDICTS:
        raise ValueError(f"{row.verdict!r} is no verdict")
    if row.memory_bytes < 0:
        raise ValueError(f"{row.memory_bytes} is no size")
    for pair in (*(row.exposure_curve or ()), *chain.from_iterable(row.series.values())):
        if len(pair) != _PAIR or not _fits(pair[0], float):
            raise ValueError(f"{pair!r} is no point of a curve")
    return row


def outcome_of(flat: Mapping[str, Any]) -> Outcome:
    """How a test ended."""
    names = {field.name for field in dataclasses.fields(Outcome)}
    outcome = Outcome(**{key: value for key, value in flat.items() if key in names})
    _check_types(outcome)
    return outcome


# What is imported for annotations alone: series, which plots take as they are.
_LOCAL: Final = {"Series": dict[str, list[list[object]]]}
_HINTS: Final = {
    kind.__name__: get_type_hints(kind, localns=_LOCAL) for kind in (Row, Setting, Outcome)
}


def _check_types(of: Row | Setting | Outcome) -> None:
    for name, hint in _HINTS[type(of).__name__].items():
        value = getattr(of, name)
        if not _fits(value, hint):
            raise TypeError(f"{name}: {value!r}")


def _fits(value: object, hint: Any) -> bool:
    """Whether a value that was JSON is of an annotated type."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, each) for each in inside)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inside[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, inside[1]) for each in value.values())
    if hint in (int, float):
        numbers = (int, float) if hint is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    return value is None if hint is NoneType else isinstance(value, hint)
