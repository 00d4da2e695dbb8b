# SPDX-License-Identifier: MIT
"""Puts messages into a series, in order; every message is used, reported, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch.subject import Tag, parse_subject
from pytest_xenscrub.hypervisor.patch.unified import FileDiff, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_xenscrub.hypervisor.patch.mails import Message

_SHOWN = 5


@dataclass(frozen=True)
class _Candidate:
    """A message with one diff."""

    message: Message
    tag: Tag
    text: bytes
    files: tuple[FileDiff, ...]

    @property
    def name(self) -> str:
        return self.message.name


@dataclass(frozen=True)
class Series:
    """Patches to be applied, in order.

    Attributes:
        patches: name and text of each, and what its format does to diffs.
        notes: what was left out or reordered, a line each.
    """

    patches: tuple[tuple[str, bytes, str], ...]
    notes: tuple[str, ...]


def assemble(messages: Sequence[Message], where: str, *, picked: bool = False) -> Series:
    """Find the patches among messages, and their order.

    Args:
        messages: all messages of a file or folder, in their order there.
        where: the name of that file or folder in errors.
        picked: whether the user named this single file of a series.

    Raises:
        ConfigurationError: a part is missing, cannot be read, or belongs to another series.
    """
    notes = [note for message in messages for note in message.notes]
    several = len(messages) > 1
    proper, replies, empty = [], [], []
    for message in messages:
        tag = parse_subject(message.subject)
        if not message.diffs:
            empty.append((message, tag))
        elif tag.reply and several:
            replies.append(message)
        elif tag.number == 0:
            notes.append(f"{message.name}: the diff in this cover letter is not used")
        else:
            proper.append(_candidate(message, tag, where))
    if replies and not proper:
        proper = [_candidate(each, parse_subject(each.subject), where) for each in replies]
        _require_one(proper, where)
        notes.append(f"{proper[0].name}: a diff in a reply, and the only one: it is used")
    elif replies:
        notes.append(f"not used: a diff in a reply: {_listed(each.name for each in replies)}")
    elif len(proper) == 1 and proper[0].tag.reply:
        notes.append(f"{proper[0].name}: the diff in this reply is used")
    _check_empty(empty, where, notes, several=several)
    chosen = _newest(_unique(proper, where, notes), where, notes)
    ordered = chosen
    if len(proper) > 1 or not picked:
        covered = any(parse_subject(message.subject).number == 0 for message in messages)
        alone = len(proper) == 1 and not covered
        ordered = _in_order(chosen, where, notes, alone=alone)
    if several and ordered:
        notes.append(f"{len(ordered)} of {len(messages)} messages are applied as patches")
    patches = tuple((each.name, each.text, each.message.damage) for each in ordered)
    return Series(patches, tuple(dict.fromkeys(notes)))


def _candidate(message: Message, tag: Tag, where: str) -> _Candidate:
    """A message as a candidate: parses its diff, which must be one."""
    found: dict[tuple[FileDiff, ...], bytes] = {}
    for text in message.diffs:
        try:
            found.setdefault(tuple(parse(text, message.name)), text)
        except ConfigurationError as error:
            if message.damage:
                error.todo = f"{message.damage}: {error.todo}"
            raise
    found.pop((), None)
    if len(found) != 1:
        count = f"{len(found)} different diffs" if found else "no whole diff"
        raise ConfigurationError(
            f"{where}: {count} in one message: {message.name}",
            todo="save the one that is meant as a file of its own",
        )
    ((files, text),) = found.items()
    return _Candidate(message, tag, text, files)


def _require_one(candidates: list[_Candidate], where: str) -> None:
    if len(candidates) > 1:
        raise ConfigurationError(
            f"{where}: several replies with a diff each, and no patch of a series",
            tried=_listed(each.name for each in candidates),
            todo="save the one that is meant as a file of its own",
        )


def _check_empty(
    empty: list[tuple[Message, Tag]], where: str, notes: list[str], *, several: bool
) -> None:
    """Refuse a patch without a diff; count messages that need none."""
    for message, tag in empty:
        claims = (tag.patch or message.damage) and not tag.reply and tag.number != 0
        if claims or not message.subject:
            raise ConfigurationError(
                f"{where}: there is no patch in {message.name if several else 'it'}",
                tried="a unified diff at the start of a line, in the text or attached",
                todo=f"{message.damage or 'it is empty or only quoted'}: give it with its diff,"
                " or take it out",
            )
    if not several:
        return
    covers = sum(tag.number == 0 for _, tag in empty)
    others = len(empty) - covers
    if covers or others:
        notes.append(f"not patches: cover letters: {covers}, others without a diff: {others}")


def _unique(found: list[_Candidate], where: str, notes: list[str]) -> list[_Candidate]:
    """Keep each message once, because lists deliver twice, and archives keep both."""
    kept: list[_Candidate] = []
    for each in found:
        same = next((other for other in kept if _same(each, other)), None)
        if same is None:
            kept.append(each)
        elif same.files == each.files:
            notes.append(f"{each.name}: there twice, used once")
        else:
            raise ConfigurationError(
                f"{where}: two different patches have one number or one Message-ID",
                tried=_listed((same.name, each.name)),
                todo="keep the one that is meant",
            )
    return kept


def _same(one: _Candidate, other: _Candidate) -> bool:
    """Whether two messages are the same one, or claim to be."""
    if one.message.message_id and one.message.message_id == other.message.message_id:
        return True
    a, b = one.tag, other.tag
    if one.files == other.files and None in (a.number, b.number) and a.version == b.version:
        return True
    place = (a.version, a.number, a.total)
    return a.number is not None and place == (b.version, b.number, b.total)


def _newest(found: list[_Candidate], where: str, notes: list[str]) -> list[_Candidate]:
    """Keep the newest of several versions of a series or patch."""
    tagged = [each for each in found if each.tag.patch or each.tag.versioned]
    versions = sorted({each.tag.version for each in tagged})
    if len(versions) < 2:  # noqa: PLR2004
        return found
    newest = versions[-1]
    titles = {each.tag.title for each in found if each.tag.version == newest}
    old = [each for each in tagged if each.tag.version != newest]
    if not any(each.tag.title in titles for each in old):
        raise ConfigurationError(
            f"{where}: patches of different versions that have no title in common",
            tried=_listed(each.name for each in found),
            todo="keep one series, or list the patches in a `series` file in their order",
        )
    notes.append(
        f"used: v{'.'.join(map(str, newest))}; not used, of an older version:"
        f" {_listed(each.name for each in old)}"
    )
    return [each for each in found if each not in old]


def _in_order(
    found: list[_Candidate], where: str, notes: list[str], *, alone: bool
) -> list[_Candidate]:
    """Sort by number if there are numbers, which must be complete; otherwise keep the order."""
    numbered = [each for each in found if each.tag.number is not None]
    if not numbered:
        return found
    if len(numbered) < len(found):
        raise ConfigurationError(
            f"{where}: some patches are numbered and some are not, so their order is not known",
            tried=_listed(each.name for each in found),
            todo="list the patches in a `series` file in their order",
        )
    totals = sorted({each.tag.total for each in numbered})
    if len(totals) > 1:
        raise ConfigurationError(
            f"{where}: patches of several series, of {' and of '.join(map(str, totals))}",
            tried=_listed(each.name for each in found),
            todo="keep one series, or list the patches in a `series` file in their order",
        )
    total = totals[0]
    if alone and total > 1:
        notes.append(f"{found[0].name}: one patch of {total}; the others are not applied")
        return found
    ordered = sorted(numbered, key=lambda each: each.tag.number or 0)
    _check_complete(ordered, total, where)
    if ordered != numbered:
        notes.append("patches are applied in the order of their numbers, not as they lie")
    return ordered


def _check_complete(ordered: list[_Candidate], total: int, where: str) -> None:
    """Check that each number from 1 to the total occurs once."""
    numbers = [each.tag.number for each in ordered]
    missing = [str(n) for n in range(1, total + 1) if n not in numbers]
    if missing:
        raise ConfigurationError(
            f"{where}: of a series of {total}, there is no patch {', '.join(missing[:_SHOWN])}"
            + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""),
            tried=_listed(each.name for each in ordered),
            todo="give the whole series; if this is meant, list the patches in a `series` file",
        )
    if len(ordered) > total:
        raise ConfigurationError(
            f"{where}: a number beyond the {total} of the series",
            tried=_listed(each.name for each in ordered),
            todo="keep one series, or list the patches in a `series` file in their order",
        )


def _listed(names: Iterable[str]) -> str:
    """Some names, and the number of further ones."""
    names = list(names)
    more = f"; {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more
