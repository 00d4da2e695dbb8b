# SPDX-License-Identifier: MIT
"""Finds the diffs in a file: splits mailboxes, decodes mails, unpacks archives.

Splits mailboxes as `git mailsplit` does: a line "From " starts a mail only if a date follows.
Python's `mailbox` splits at every such line, and commit messages have such lines.
"""

from __future__ import annotations

import base64
import bz2
import email
import email.policy
import gzip
import lzma
import quopri
import re
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch.quoted_printable import check_encoded, is_quoted_printable
from pytest_xenscrub.hypervisor.patch.unified import has_diff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

_UNPACK = ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress))
_HEADER = re.compile(rb"(>From |[!-9;-~]+:)")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*[mK]")
_PREREQUISITE = re.compile(rb"^prerequisite-patch-id: ", re.M)
_SCISSORS = re.compile(rb"^[- >%8<]*(8<|>8|%<|>%)[- >%8<]*$", re.M)


@dataclass(frozen=True)
class Message:
    """One mail, or one file that is not a mail.

    Attributes:
        name: its subject, or the file's name.
        subject: empty for a file that is not a mail.
        message_id: empty without one.
        diffs: the texts in it that have a diff; several only if they differ.
        notes: what was decoded or unpacked, for the user.
        damage: what its format does to diffs; for the error if one does not apply.
    """

    name: str
    subject: str = ""
    message_id: str = ""
    diffs: tuple[bytes, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    damage: str = ""


def read_messages(data: bytes, name: str) -> list[Message]:
    """All messages of a file, with or without a diff.

    Args:
        data: the file's bytes.
        name: the file's name.

    Raises:
        ConfigurationError: the file is an archive that cannot be unpacked.
    """
    data, notes = _plain_bytes(data, name)
    mails = split(data)
    if mails is None:
        _check_separator(data, name)
        diffs = (data,) if has_diff(data) else ()
        return [Message(name, diffs=diffs, notes=notes)]
    messages = [message for mail in mails for message in _read_mail(mail)]
    if notes and messages:
        messages[0] = replace(messages[0], notes=(*notes, *messages[0].notes))
    return messages


def split(data: bytes) -> list[bytes] | None:
    """The mails of a file, without separator lines; None if the file is not a mailbox."""
    lines = data.splitlines(keepends=True)
    starts = [
        at
        for at, line in enumerate(lines[:-1])
        if is_from_line(line) and _HEADER.match(lines[at + 1])
    ]
    if starts and not has_diff(b"".join(lines[: starts[0]])):
        ends = [*starts[1:], len(lines)]
        return [b"".join(lines[a + 1 : b]) for a, b in zip(starts, ends, strict=True)]
    return [data] if _is_mail(data) else None


def _check_separator(data: bytes, name: str) -> None:
    """Refuse a mailbox of another format: its patches would be taken for one patch."""
    first, second = [*data.split(b"\n", 2), b"", b""][:2]
    if first.startswith(b"From ") and re.match(rb"[!-9;-~]+: ", second):
        raise ConfigurationError(
            f"{name} begins like a mailbox, and its first line has no date that git knows",
            tried=first.decode(errors="replace")[:100],
            todo="save it as mbox again, or give its mails as files",
        )


def is_from_line(line: bytes) -> bool:
    """Whether a line separates mails, by the rule of `git mailsplit`, or in Google's format."""
    line = line.rstrip(b"\r\n")
    colon = line.rfind(b":")
    if len(line) < 19 or not line.startswith(b"From ") or colon < 9:  # noqa: PLR2004 - as in git
        return False
    digits = (colon - 4, colon - 2, colon - 1, colon + 1, colon + 2)
    if not all(line[at : at + 1].isdigit() for at in digits):
        return False
    # Google Takeout puts a time zone before the year.
    year = re.match(rb"\s*(?:[+-]\d{4}\s+)?(\d+)", line[colon + 3 :])
    return year is not None and int(year[1]) > 90  # noqa: PLR2004 - as in git


def _is_mail(data: bytes) -> bool:
    """Whether a file without a separator line is a mail; quilt's headers do not suffice."""
    head = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0]
    if not _HEADER.match(head) or has_diff(head):
        return False
    keys = {key.lower() for key in re.findall(rb"^([!-9;-~]+):", head, re.M)}
    return b"subject" in keys and bool(
        keys & {b"date", b"message-id", b"mime-version", b"content-transfer-encoding"}
    )


def _plain_bytes(data: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
    """A file's text with a byte for each ASCII character, and Unix line ends."""
    notes = []
    for magic, unpack in _UNPACK:
        if data.startswith(magic):
            try:
                data = unpack(data)
            except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
                raise ConfigurationError(
                    f"{name} cannot be unpacked: {error}", todo="fetch it again, or unpack it"
                ) from error
    encoding = ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data[1:8:2] == b"\0" * 4:
        encoding = "utf-16-le"
    elif data[0:8:2] == b"\0" * 4:
        encoding = "utf-16-be"
    if encoding:
        try:
            data = data.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{name} is not text: {error}", todo="give a diff or a mailbox"
            ) from error
        notes.append(f"{name}: converted from UTF-16")
    data = data.removeprefix(b"\xef\xbb\xbf")
    _check_text(data, name)
    if _COLOUR.search(data) and not has_diff(data) and has_diff(_COLOUR.sub(b"", data)):
        data = _COLOUR.sub(b"", data)
        notes.append(f"{name}: colours of a terminal taken out")
    data, crlf = _unix_lines(data)
    if crlf and split(data) is None:
        notes.append(f"{name}: CRLF at the ends of its lines taken as LF")
    return data, tuple(notes)


def _check_text(data: bytes, name: str) -> None:
    """Refuse a text with a diff that was changed after it was written, such as by a web page."""
    what, todo = "", "give a diff or a mailbox"
    if data[257:262] == b"ustar":
        what, todo = "an archive of files", "unpack it, and give the folder"
    elif b"\0" in data:
        what = "not text"
    elif re.match(rb"\s*<(!doctype html|html|\?xml)", data[:500], re.I):
        what, todo = "a web page", "use the page's link to the raw mail, mbox or patch"
    if what:
        raise ConfigurationError(f"{name} is {what}", todo=todo)


def _unix_lines(data: bytes) -> tuple[bytes, bool]:
    """Remove the CRs that a mailer or editor added; a diff of files with CRs keeps theirs.

    File names end in CR only if a CR was added to every line.
    """
    heads = re.findall(rb"^(?:---|\+\+\+|@@ -|diff --git|From|Subject:) ?.*$", data, re.M)
    if heads and all(line.endswith(b"\r") for line in heads):
        return re.sub(rb"\r$", b"", data, flags=re.M), True
    return data, False


def _read_mail(raw: bytes) -> Iterator[Message]:
    """Read a mail, and the attached mails and files that are messages themselves."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    subject = _header(mail, "Subject") or "(no subject)"
    message_id = _header(mail, "Message-ID")
    texts: list[bytes] = []
    notes: list[str] = []
    damage = ""
    carries = False
    for part in _parts(mail):
        if part.get_content_type() == "message/rfc822":
            carries = True
            yield from _read_mail(_attached_mail(part))
            continue
        attached = part.get_filename() or ""
        try:
            content = _content(part, raw, whole=part is mail)
        except ConfigurationError as error:
            if not attached:
                raise
            notes.append(f"{subject}: attachment not used: {error.what}")
            continue
        if attached and (mails := split(content)) is not None:
            carries = True
            yield from (message for each in mails for message in _read_mail(each))
            continue
        if before := len(_PREREQUISITE.findall(content)):
            notes.append(f"{subject}: not applied: {before} patches that it says come before it")
        if not has_diff(content):
            continue
        if part.get_content_type() == "text/html":
            damage = "its diff is in HTML alone"
            continue
        if "flowed" in str(part.get_param("format", "")).lower():
            damage = "the mail is format=flowed, which moves blanks and wraps lines"
        if attached:
            notes.append(f"{subject}: its diff is the attachment {attached}")
        texts.append(_after_scissors(content, subject, notes))
    if damage and not texts:
        notes.append(f"{subject}: {damage}")
    yield Message(
        subject,
        # The subject belongs to the attached mail, so this mail needs no diff itself.
        "(mails are attached)" if carries and not texts else subject,
        message_id,
        tuple(dict.fromkeys(texts)),
        tuple(notes),
        damage,
    )


def _attached_mail(part: EmailMessage) -> bytes:
    """Read an attached mail, which some servers encode although the standard forbids that."""
    inner: bytes = part.get_payload(0).as_bytes()  # type: ignore[union-attr]
    encoded = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoded == "base64":
        return base64.b64decode(inner)
    if encoded == "quoted-printable" and is_quoted_printable(inner):
        return quopri.decodestring(inner)
    return inner


def _header(mail: EmailMessage, key: str) -> str:
    """A header in one line; empty if it cannot be read, because some mailers write broken ones."""
    try:
        return " ".join(str(mail.get(key, "")).split())
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def _parts(mail: EmailMessage) -> Iterator[EmailMessage]:
    """The leaves of a mail, and the mails attached to it."""
    if mail.get_content_type() == "message/rfc822" or not mail.is_multipart():
        yield mail
        return
    for part in mail.iter_parts():
        yield from _parts(part)  # type: ignore[arg-type]


def _content(part: EmailMessage, raw: bytes, *, whole: bool) -> bytes:
    """The bytes of a part, as they were before the mail was encoded."""
    encoded = str(part.get("Content-Transfer-Encoding", "")).lower()
    if whole and encoded not in ("base64", "quoted-printable"):
        # The bytes as they are, whatever the mail's headers say about their encoding.
        content = re.sub(rb"\A.*?\r?\n\r?\n", b"", raw, count=1, flags=re.S)
    else:
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        if encoded == "quoted-printable" and has_diff(content):
            check_encoded(part)
    charset = str(part.get_content_charset() or "")
    if re.match(r"utf-?(16|32)", charset):
        content = content.decode(charset, errors="replace").encode()
    return _plain_bytes(content, part.get_filename() or "a mail")[0] if content else content


def _after_scissors(content: bytes, name: str, notes: list[str]) -> bytes:
    """The text below a scissors line, if the diff is there."""
    cuts = [
        match
        for match in _SCISSORS.finditer(content)
        if match[0].count(b"-") >= 3  # noqa: PLR2004
    ]
    for cut in cuts:
        above, below = content[: cut.start()], content[cut.end() :]
        if has_diff(below):
            if has_diff(above):
                notes.append(f"{name}: a diff above its scissors line is not used")
            return below
    return content
