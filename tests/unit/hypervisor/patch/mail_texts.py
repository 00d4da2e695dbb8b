# SPDX-License-Identifier: MIT
"""Mails as `git format-patch` and mailing lists write them."""

from __future__ import annotations

import base64
import quopri

from ..conftest import COMMENT, diff_of

HUNK = diff_of(COMMENT, "/* patched */")


def mail(
    subject: str, body: str = HUNK, *, encoding: str = "", headers: str = "", sha: str = "01234"
) -> str:
    """One mail of a mailbox; a patch of page_alloc.c unless `body` says otherwise."""
    body = f"{body}-- \n2.39.5\n"
    if encoding:
        headers += "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        headers += f"Content-Transfer-Encoding: {encoding}\n"
    if encoding == "base64":
        body = base64.encodebytes(body.encode()).decode()
    if encoding == "quoted-printable":
        body = quopri.encodestring(body.encode()).decode()
    head = f"From {sha} Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: {subject}\n"
    return f"{head}{headers}\n{body}\n"


def change(number: int) -> str:
    """The diff of the patch of that number in a series that counts a comment up."""
    old = COMMENT if number == 1 else f"/* {number - 1} */"
    return diff_of(old, f"/* {number} */")


def series(*numbers: int, total: int = 3, version: str = "") -> list[str]:
    """Patches of a series by their numbers."""
    return [
        mail(f"[PATCH{version} {number}/{total}] step {number}", change(number))
        for number in numbers
    ]


def multipart(subject: str, *parts: tuple[str, str, str]) -> str:
    """A mail of several parts: type, file name, text."""
    written = []
    for kind, name, text in parts:
        lines = [f"Content-Type: {kind}"]
        if name:
            lines.append(f'Content-Disposition: attachment; filename="{name}"')
        lines.append("Content-Transfer-Encoding: base64")
        written.append("\n".join([*lines, "", base64.encodebytes(text.encode()).decode()]))
    body = "".join(f"--B\n{part}\n" for part in written) + "--B--\n"
    headers = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n"
    return mail(subject, body, headers=headers)
