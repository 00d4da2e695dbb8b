# SPDX-License-Identifier: MIT
"""Every part of a file or folder of patches is used, or told of, or refused."""

from __future__ import annotations

import base64
import bz2
import gzip
import itertools
import lzma
import quopri
import subprocess
import tarfile
from email.message import EmailMessage
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch import mails
from pytest_xenscrub.hypervisor.patch.mails import is_from_line, read_messages, split
from pytest_xenscrub.hypervisor.patch.subject import parse_subject
from pytest_xenscrub.hypervisor.variant import Variant, load_variant

from ..conftest import COMMENT, diff_of
from .mail_texts import HUNK, change, mail, multipart, series

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[..., Variant]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(*mails: str | bytes, name: str = "mine.mbox") -> Variant:
        file = tmp_path / name
        file.write_bytes(b"".join(m.encode() if isinstance(m, str) else m for m in mails))
        return load_variant(str(file))

    return load


def names(variant: Variant) -> list[str]:
    return [change.name for change in variant.changes]


def steps(variant: Variant) -> list[int]:
    return [int(name[-1]) for name in names(variant)]


def notes(variant: Variant) -> str:
    return "\n".join(variant.notes)


# -- mailboxes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["From 4.10 on", "From the log at 10:20 one sees", "From "])
def test_from_in_a_commit_message_starts_no_mail(load: Load, line: str) -> None:
    middle = mail("[PATCH 2/3] step 2", f"Why.\n\n{line}\nthat is so.\n---\n{change(2)}")
    first, third = series(1, 3)
    variant = load(first, middle, third)
    assert steps(variant) == [1, 2, 3]
    assert b"+/* 2 */" in variant.changes[1].text
    assert names(load(mail("[PATCH] alone", f"{line}\nx\n---\n{HUNK}"))) == ["[PATCH] alone"]


def test_even_a_separator_with_no_header_behind_it_starts_no_mail(load: Load) -> None:
    body = f"see\nFrom abc Mon Sep 17 00:00:00 2001\nwhich is a quote\n---\n{change(1)}"
    assert names(load(mail("[PATCH] x", body))) == ["[PATCH] x"]


def test_mails_are_split_as_git_splits_them(tmp_path: Path) -> None:
    bodies = ["From 4.10 on\n", "From x at 10:20:30 80\n", "From a 1:2\n", ">From me\n"]
    lines = ["From ab  Mon May 19 02:57:24 2014\n", "From - Tue Mar  2 18:10:36 2021\n",
             "From 0123 Mon Sep 17 00:00:00 2001\n"]  # fmt: skip
    text = "".join(
        f"{line}Subject: {number}\n\n{''.join(bodies)}text\n\n" for number, line in enumerate(lines)
    )
    (tmp_path / "box").write_text(text)
    subprocess.run(
        ["git", "mailsplit", "-o.", "box"], cwd=tmp_path, check=True, capture_output=True
    )
    theirs = [path.read_bytes() for path in sorted(tmp_path.glob("000*"))]
    ours = split(text.encode())
    assert ours is not None
    assert len(theirs) == 3
    assert ours == [mail.partition(b"\n")[2] for mail in theirs]
    assert not any(is_from_line(body.encode()) for body in bodies)


def test_order_is_by_number_and_said(load: Load) -> None:
    cover = mail("[PATCH 0/3] cover", "text\n")
    variant = load(*series(3), cover, *series(1, 2))
    assert steps(variant) == [1, 2, 3]
    assert "in the order of their numbers" in notes(variant)
    assert "3 of 4 messages are applied" in notes(variant)
    assert "cover letters: 1" in notes(variant)


def test_part_of_a_series_that_is_missing(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="of a series of 3, there is no patch 2"):
        load(*series(1, 3))
    with pytest.raises(ConfigurationError, match="there is no patch 3"):
        load(*series(1, 2))


@pytest.mark.parametrize("tag", ["[RFC ", "[v2,", "[", "[Xen-devel] [RFC v3 "])
def test_series_whose_subjects_do_not_say_patch(load: Load, tag: str) -> None:
    with pytest.raises(ConfigurationError, match="of a series of 3, there is no patch 2"):
        load(*(text.replace("[PATCH ", tag) for text in series(1, 3)))
    assert steps(load(*(text.replace("[PATCH ", tag) for text in series(3, 1, 2)))) == [1, 2, 3]


def test_one_patch_with_the_cover_letter_of_a_series_is_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="there is no patch 1, 3"):
        load(mail("[PATCH 0/3] cover", "text\n"), *series(2))


def test_mailbox_as_google_writes_it(load: Load) -> None:
    date = "Mon Sep 17 00:00:00 2001"
    mails = [text.replace(date, "Sat Nov 28 12:00:00 +0000 2026") for text in series(2, 1, 3)]
    assert steps(load(*mails)) == [1, 2, 3]


def test_mailbox_whose_separators_are_unknown_is_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="begins like a mailbox"):
        load(*(text.replace("Mon Sep 17 00:00:00 2001", "yesterday") for text in series(2, 1, 3)))


def test_one_patch_of_a_series_is_used_and_said(load: Load) -> None:
    variant = load(*series(2))
    assert steps(variant) == [2]
    assert "one patch of 3; the others are not applied" in notes(variant)


def test_patch_mail_without_a_diff_is_named(load: Load) -> None:
    first, third = series(1, 3)
    with pytest.raises(ConfigurationError, match=r"no patch in \[PATCH 2/3\] step 2"):
        load(first, mail("[PATCH 2/3] step 2", "> +quoted\n"), third)


def test_newest_of_two_versions_is_used_and_said(load: Load) -> None:
    variant = load(*series(1, 2, 3), *series(1, 2, 3, version=" v2"))
    assert names(variant)[0] == "[PATCH v2 1/3] step 1"
    assert len(variant.changes) == 3
    assert "used: v2; not used, of an older version: [PATCH 1/3] step 1" in notes(variant)


def test_new_version_of_one_patch_alone_is_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="there is no patch 1, 3"):
        load(*series(1, 2, 3), *series(2, version=" v2"))


def test_two_series_are_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="patches of several series, of 2 and of 3"):
        load(*series(1, 2, 3), *series(1, 2, total=2))
    other = [mail(f"[PATCH v2 {n}/2] other {n}", change(n)) for n in (1, 2)]
    with pytest.raises(ConfigurationError, match="no title in common"):
        load(*series(1, 2, total=2), *other)
    other = [mail(f"[PATCH {n}/2] other {n}", diff_of("a", f"{n}")) for n in (1, 2)]
    with pytest.raises(ConfigurationError, match="one number"):
        load(*series(1, 2, total=2), *other)


def test_numbered_and_not_is_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="order is not known"):
        load(*series(1, 2, 3), mail("[PATCH] one more", diff_of("a", "b")))


def test_patches_without_numbers_are_applied_as_they_lie(load: Load) -> None:
    variant = load(mail("[PATCH] b", change(1)), mail("[PATCH] a", change(2)))
    assert names(variant) == ["[PATCH] b", "[PATCH] a"]


def test_diff_in_a_reply_is_not_used_beside_a_series(load: Load) -> None:
    reply = mail("Re: [PATCH 2/3] step 2", f"How about\n{diff_of('a', 'b')}")
    talk = mail("Re: [PATCH 1/3] step 1", "> +/* 1 */\n\nAcked-by: B\n")
    variant = load(*series(1, 2, 3), reply, talk)
    assert steps(variant) == [1, 2, 3]
    assert "not used: a diff in a reply: Re: [PATCH 2/3] step 2" in notes(variant)
    assert "others without a diff: 1" in notes(variant)


def test_diff_in_a_reply_alone_is_used_and_said(load: Load) -> None:
    variant = load(mail("Re: [PATCH 2/3] step 2", HUNK))
    assert "the diff in this reply is used" in notes(variant)
    with pytest.raises(ConfigurationError, match="several replies"):
        load(mail("Re: a", HUNK), mail("Re: b", change(1)))


def test_message_that_is_there_twice_is_used_once(load: Load) -> None:
    ident = "Message-ID: <1@x>\n"
    twice = [mail("[PATCH] a", HUNK, headers=ident), mail("[PATCH] a", HUNK, headers=ident)]
    variant = load(*twice)
    assert len(variant.changes) == 1
    assert "there twice, used once" in notes(variant)
    with pytest.raises(ConfigurationError, match="one Message-ID"):
        load(twice[0], mail("[PATCH] a", change(1), headers=ident))


def test_interdiff_in_a_cover_letter_is_not_a_patch(load: Load) -> None:
    variant = load(mail("[PATCH v2 0/1] c", HUNK), mail("[PATCH v2 1/1] step 1", change(1)))
    assert steps(variant) == [1]
    assert "cover letter is not used" in notes(variant)


# -- how a mail carries its patch ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "8bit", "base64", "quoted-printable"])
@pytest.mark.parametrize("crlf", [False, True])
def test_encodings(load: Load, encoding: str, *, crlf: bool) -> None:
    text = mail("[PATCH] x", f"é = 3\n---\n{HUNK}", encoding=encoding).encode()
    variant = load(text.replace(b"\n", b"\r\n") if crlf else text)
    assert HUNK.encode() in variant.changes[0].text


def test_mail_without_a_separator(load: Load) -> None:
    text = mail("[PATCH] x", encoding="base64").partition("\n")[2]
    assert names(load(text, name="mine.eml")) == ["[PATCH] x"]


def test_quilts_headers_are_no_mail(load: Load) -> None:
    head = "Description: x\nFrom: A\nSubject: y\n---\n"
    assert names(load(head, HUNK, name="mine.patch")) == ["mine.patch"]


@pytest.mark.parametrize("kind", ["text/x-patch", "text/x-diff", "application/octet-stream"])
def test_attachment_is_used_and_said(load: Load, kind: str) -> None:
    variant = load(multipart("fix", ("text/plain", "", "See.\n"), (kind, "fix.patch", HUNK)))
    assert variant.changes[0].text == HUNK.encode()
    assert "its diff is the attachment fix.patch" in notes(variant)


def test_patch_inline_and_attached_is_one(load: Load) -> None:
    parts = ("text/plain", "", f"Why.\n{HUNK}"), ("text/x-patch", "fix.patch", HUNK)
    assert len(load(multipart("[PATCH] x", *parts)).changes) == 1


def test_attachments_that_differ_are_refused(load: Load) -> None:
    parts = [("text/x-patch", f"xsa-{n}.patch", change(n)) for n in (1, 2)]
    with pytest.raises(ConfigurationError, match="2 different diffs in one message"):
        load(multipart("XSA", *parts))


def test_attached_mails_are_a_series(load: Load) -> None:
    parts = [("text/x-patch", f"000{n}.patch", text) for n, text in enumerate(series(1, 2, 3), 1)]
    assert steps(load(multipart("three of them", *parts))) == [1, 2, 3]


def test_html_alone_is_refused(load: Load) -> None:
    headers = "MIME-Version: 1.0\nContent-Type: text/html\n"
    with pytest.raises(ConfigurationError, match="no patch in it") as raised:
        load(mail("[PATCH] x", f"<pre>\n{HUNK}</pre>", headers=headers))
    assert "HTML" in raised.value.todo


def test_html_alone_is_refused_beside_patches_too(load: Load) -> None:
    html = mail("xen: step 2", f"<pre>\n{change(2)}", headers="Content-Type: text/html\n")
    with pytest.raises(ConfigurationError, match="no patch in xen: step 2"):
        load(mail("xen: step 1", change(1)), html)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_attached_mail_that_is_encoded(load: Load, encoding: str) -> None:
    encode = base64.encodebytes if encoding == "base64" else quopri.encodestring
    inner = encode(series(2)[0].partition("\n")[2].encode()).decode()
    head = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n"
    headers = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n"
    carrier = mail("Fwd: step 2", f"--B\n{head}\n{inner}\n--B--\n", headers=headers)
    assert steps(load(series(1)[0], carrier, series(3)[0])) == [1, 2, 3]


def test_attached_mail_that_is_not_encoded_as_its_part_says(load: Load) -> None:
    """What is quoted-printable in it is its own text, and that is decoded once."""
    text = change(2).replace("/* 2 */", "/* x=3D10 */")
    inner = mail("[PATCH 2/3] step 2", text, encoding="quoted-printable").partition("\n")[2]
    head = "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n"
    headers = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n"
    carrier = mail("Fwd: step 2", f"--B\n{head}\n{inner}\n--B--\n", headers=headers)
    variant = load(series(1)[0], carrier, series(3)[0])
    assert b"+/* x=3D10 */" in variant.changes[1].text


def test_text_that_was_decoded_before_is_refused(load: Load) -> None:
    headers = "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n"
    text = HUNK.replace("/* patched */", "int a = 1, b=10;")
    with pytest.raises(ConfigurationError, match="decoded before"):
        load(mail("[PATCH] x", text, headers=headers))


def test_patches_that_come_before_are_said(load: Load) -> None:
    base = "base-commit: 1234\nprerequisite-patch-id: 56\nprerequisite-patch-id: 78\n"
    variant = load(mail("[PATCH 0/1] c", base), mail("[PATCH 1/1] step 1", change(1)))
    assert "not applied: 2 patches that it says come before it" in notes(variant)


def test_flowed_mail_that_is_damaged_says_so(load: Load) -> None:
    headers = "MIME-Version: 1.0\nContent-Type: text/plain; format=flowed\n"
    damaged = HUNK.replace("struct page_info *pg, ", "struct page_info *pg, \n")
    with pytest.raises(ConfigurationError, match="wrapped") as raised:
        load(mail("[PATCH] x", damaged, headers=headers))
    assert "format=flowed" in raised.value.todo
    assert load(mail("[PATCH] x", headers=headers)).changes[0].damage


def test_below_the_scissors(load: Load) -> None:
    above = diff_of("a", "b")
    variant = load(mail("Re: [PATCH] x", f"like\n{above}\n-- >8 --\nSubject: y\n\n{HUNK}"))
    assert variant.changes[0].text.count(b"@@ -") == 1
    assert "above its scissors line is not used" in notes(variant)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_encodings_of_a_diff(load: Load, encoding: str) -> None:
    variant = load(HUNK.encode(encoding), name="mine.diff")
    assert variant.changes[0].text == HUNK.encode()


def test_diff_with_crlf_is_used_and_said(load: Load) -> None:
    variant = load(HUNK.replace("\n", "\r\n"), name="mine.diff")
    assert variant.changes[0].text == HUNK.encode()
    assert "CRLF" in notes(variant)


def test_latin_1_stays_as_it_is(load: Load) -> None:
    text = HUNK.encode().replace(b"patched", b"patch\xe9")
    assert load(text, name="mine.diff").changes[0].text == text


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_mailbox(load: Load, pack: Callable[[bytes], bytes]) -> None:
    variant = load(pack("".join(series(1, 2, 3)).encode()), name="t.mbox.gz")
    assert variant.name == "t"
    assert steps(variant) == [1, 2, 3]


def test_damaged_archive(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="cannot be unpacked"):
        load(gzip.compress(HUNK.encode())[:20], name="t.mbox.gz")


def test_archive_of_files_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text(HUNK)
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.patch", "a.patch")
    with pytest.raises(ConfigurationError, match="is an archive of files"):
        load((tmp_path / "all.tar.gz").read_bytes(), name="series.tar.gz")


@pytest.mark.parametrize(
    ("text", "what"), [("<!DOCTYPE html>\n", "a web page"), ("\0x", "not text")]
)
def test_what_is_no_patch_as_it_was_written(load: Load, text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=f"is {what}"):
        load(text, HUNK)


def test_colours_of_a_terminal_are_taken_out(load: Load) -> None:
    coloured = "".join(f"\x1b[1m{line}\x1b[m\n" for line in HUNK.splitlines())
    variant = load(coloured, name="mine.diff")
    assert variant.changes[0].text == HUNK.encode()
    assert "colours" in notes(variant)


def test_text_before_the_first_mail_is_no_part_of_it(load: Load) -> None:
    first, second, third = series(1, 2, 3)
    assert steps(load("Description: x\n", second, first, third)) == [1, 2, 3]


def test_attachment_that_is_no_text_is_told(load: Load) -> None:
    parts = ("text/plain", "", f"Why.\n{HUNK}"), ("image/png", "shot.png", "\0\1\2")
    variant = load(multipart("[PATCH] x", *parts))
    assert names(variant) == ["[PATCH] x"]
    assert "attachment not used: shot.png is not text" in notes(variant)


@pytest.mark.parametrize("option", ["--attach", "--inline"])
def test_what_git_attaches(tmp_path: Path, option: str) -> None:
    def git(*words: str) -> None:
        argv = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words]
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    for number in range(4):
        (tmp_path / "a").write_text(f"{number}\n")
        git("add", "a")
        git("commit", "-qm", f"step {number}\n\nFrom 4.10 on\n")
    git("format-patch", option, "-3", "-o", "out")
    assert steps(load_variant(str(tmp_path / "out"))) == [1, 2, 3]


# -- subjects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "number", "total", "version", "reply"),
    [
        ("[PATCH 1/3] x", 1, 3, (1,), False),
        ("[Xen-devel] [RFC PATCH v3 02/13 for-4.18] xen: x", 2, 13, (3,), False),
        ("[PATCH for-4.17 v2.1 2/3] x", 2, 3, (2, 1), False),
        ("Re: [Xen-devel] [PATCH 2/3] x", 2, 3, (1,), True),
        ("[Xen-devel] Re: [PATCH V4] x", None, 0, (4,), True),
        ("[PATCH 01 of 10] x", 1, 10, (1,), False),
        ("Fwd: [XEN PATCH 1/2] x", 1, 2, (1,), False),
        ("[RFC 1/3] x", 1, 3, (1,), False),
        ("[RFC,v2,1/3] x", 1, 3, (2,), False),
        ("[XEN] [1/3] x", 1, 3, (1,), False),
        ("Re: PATCH v2 1/3: x", 1, 3, (2,), True),
        ("[PATCHv2 2/3] x", 2, 3, (2,), False),
        ("[PATCH 4.17 2/3] x", 2, 3, (1,), False),
        ("[PATCH 1.2/3] x", None, 0, (1,), False),
    ],
)
def test_subjects(
    subject: str, number: int | None, total: int, version: tuple[int, ...], *, reply: bool
) -> None:
    tag = parse_subject(subject)
    assert tag.patch
    assert (tag.number, tag.total, tag.version, tag.reply) == (number, total, version, reply)


@pytest.mark.parametrize(
    "subject", ["[xen-unstable test] 1/2: regressions", "[RFC v2] design of x", "[4.17/x86] x"]
)
def test_subject_that_is_no_patch(subject: str) -> None:
    assert not parse_subject(subject).patch


# -- folders ---------------------------------------------------------------------------------------


def folder_of(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_quilt_series_has_an_order_and_levels(tmp_path: Path) -> None:
    texts = {f"{name}.patch": diff_of(COMMENT, name) for name in ("a", "b", "c", "d")}
    listed = "# comment\nb.patch -p2\n\na.patch # why\nc.patch -p ab\n".replace("-p ab", "-pab")
    folder = folder_of(tmp_path, **texts, series=listed)
    variant = load_variant(str(folder))
    assert [(change.name, change.strip) for change in variant.changes] == [
        ("b.patch", 2),
        ("a.patch", None),
        ("c.patch", 1),
    ]
    assert "not used: d.patch" in notes(variant)


def test_quilt_series_may_pick_from_a_numbered_one(tmp_path: Path) -> None:
    first, third = series(1, 3)
    folder = folder_of(
        tmp_path, **{"a.patch": first, "c.patch": third, "series": "c.patch\na.patch\n"}
    )
    variant = load_variant(str(folder))
    assert steps(variant) == [3, 1]
    assert not variant.notes


@pytest.mark.parametrize(
    ("listed", "match"),
    [
        ("gone.patch\n", r"names gone\.patch, which is not there"),
        ("empty.patch\n", r"no patch in it"),
        ("a.patch -R\n", "option -R is not known"),
        ("# nothing\n", "no patch in it"),
    ],
)
def test_quilt_series_that_is_wrong(tmp_path: Path, listed: str, match: str) -> None:
    folder = folder_of(tmp_path, **{"a.patch": HUNK, "empty.patch": "", "series": listed})
    with pytest.raises(ConfigurationError, match=match):
        load_variant(str(folder))


def test_format_patch_folder(tmp_path: Path) -> None:
    texts = [mail("[PATCH 0/3] cover", "text\n"), *series(1, 2, 3)]
    files = {f"000{n}-x.patch": text for n, text in enumerate(texts)}
    variant = load_variant(str(folder_of(tmp_path, **files, README="hello\n")))
    assert steps(variant) == [1, 2, 3]
    assert "not read: README" in notes(variant)


def test_folder_without_one_of_a_series(tmp_path: Path) -> None:
    first, third = series(1, 3)
    with pytest.raises(ConfigurationError, match="there is no patch 2"):
        load_variant(str(folder_of(tmp_path, **{"0001-a.patch": first, "0003-c.patch": third})))


def test_number_that_is_missing_in_names_is_said(tmp_path: Path) -> None:
    files = {"0001-a.patch": change(1), "0003-c.patch": change(2)}
    assert "no file is numbered 0002" in notes(load_variant(str(folder_of(tmp_path, **files))))


def test_patch_under_another_name_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"0001-a.patch": HUNK, "0002-b.txt": HUNK, "x.patch~": HUNK})
    with pytest.raises(ConfigurationError, match=r"a diff in 0002-b\.txt"):
        load_variant(str(folder))
    (folder / "0002-b.txt").unlink()
    assert "not read: x.patch~" in notes(load_variant(str(folder)))


def test_empty_patch_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"0001-a.patch": HUNK, "0002-b.patch": ""})
    with pytest.raises(ConfigurationError, match=r"no patch in 0002-b\.patch"):
        load_variant(str(folder))


def test_maildir(tmp_path: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (tmp_path / name).mkdir()
    files = itertools.cycle([tmp_path / "cur", tmp_path / "new"])
    for number, text in enumerate(series(3, 1, 2)):
        (next(files) / f"17.{number}").write_text(
            text.partition("\n")[2].replace("\n\n", "\nDate: x\n\n", 1)
        )
    assert steps(load_variant(str(tmp_path))) == [1, 2, 3]


@pytest.mark.parametrize("suffix", ["patch", "cocci"])
def test_file_that_cannot_be_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").symlink_to("/proc/self/mem")
    with pytest.raises(ConfigurationError, match=r"cannot be read: Input/output error"):
        load_variant(str(tmp_path / f"a.{suffix}"))
    with pytest.raises(ConfigurationError, match="cannot be read: File name too long"):
        load_variant("x" * 300)


def test_file_that_is_no_mail_is_one_message() -> None:
    (message,) = read_messages(b"hello\n", "x")
    assert (message.name, message.subject, message.diffs) == ("x", "", ())


def test_mail_without_a_subject_is_counted(load: Load) -> None:
    talk = mail("", "hello\n")
    assert "others without a diff: 1" in notes(load(*series(1, 2, 3), talk))


def test_mail_that_only_carries_its_patch(load: Load) -> None:
    patch = mail("[PATCH 2/3] step 2", change(2))
    carrier = multipart("[PATCH 2/3] step 2", ("text/x-patch", "0002-x.patch", patch))
    first, third = series(1, 3)
    assert steps(load(first, carrier, third)) == [1, 2, 3]
    inline = multipart("[PATCH] x", ("text/plain", "", HUNK), ("text/x-patch", "x", mail("x")))
    assert len(load(inline).changes) == 1


def test_half_a_character_of_utf_16_is_no_text(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="is not text: 'utf-16"):
        load(b"\xff\xfe" + "diff".encode("utf-16-le") + b"\x00\xd8")


@pytest.mark.parametrize("error", [ValueError, LookupError, AttributeError, TypeError])
def test_header_that_cannot_be_read_is_empty(error: type[Exception]) -> None:
    class Odd(EmailMessage):
        def get(self, *_: object) -> NoReturn:
            raise error

    assert mails._header(Odd(), "Subject") == ""
