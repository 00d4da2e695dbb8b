# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.variant import BUILT_IN, Kind, load_variant

from .conftest import COMMENT, diff_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "defers"),
    [("as-is", None), ("stock", True), ("sync", False), ("tasklet", True), ("noscrub", False)],
)
def test_built_in_variants(name: str, defers: bool | None) -> None:
    variant = load_variant(name)
    assert (variant.name, variant.defers) == (name, defers)
    assert variant.description
    assert variant.builds is (name != "as-is")


def test_every_variant_has_a_digest_of_its_own() -> None:
    digests = [load_variant(name).digest for name in BUILT_IN]
    assert len(set(digests)) == len(digests)


def test_unified_diff(tmp_path: Path) -> None:
    file = tmp_path / "fix.patch"
    file.write_text(diff_of(COMMENT, "/* patched */"))
    variant = load_variant(str(file))
    assert (variant.name, variant.kind, variant.defers) == ("fix", Kind.PATCHES, None)
    assert [change.strip for change in variant.changes] == [1]


def test_diff_without_prefix_is_not_stripped(tmp_path: Path) -> None:
    file = tmp_path / "fix.diff"
    file.write_text(diff_of(COMMENT, "x").replace("a/xen", "xen").replace("b/xen", "xen"))
    assert load_variant(str(file)).changes[0].strip == 0


def test_semantic_patch(tmp_path: Path) -> None:
    file = tmp_path / "mine.cocci"
    file.write_text("@@ @@\n- a();\n")
    variant = load_variant(str(file))
    assert (variant.name, variant.kind, variant.defers) == ("mine", Kind.SEMANTIC, None)


def mail(subject: str, body: str, *, encoded: bool = False) -> str:
    headers = (
        f"From 0123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: {subject}\n"
    )
    if encoded:
        headers += "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n"
        body = base64.encodebytes(body.encode()).decode()
    return f"{headers}\n{body}\n"


def test_mailbox_is_sorted_decoded_and_its_cover_letter_skipped(tmp_path: Path) -> None:
    second = diff_of("/* one */", "/* two */")
    first = diff_of(COMMENT, "/* one */")
    file = tmp_path / "series.mbox"
    file.write_text(
        mail("[PATCH 0/2] cover", "text")
        + mail("[PATCH 2/2] second", second)
        + mail("[PATCH 1/2] first", first, encoded=True)
    )
    variant = load_variant(str(file))
    assert [change.name for change in variant.changes] == [
        "[PATCH 1/2] first",
        "[PATCH 2/2] second",
    ]
    assert b"+/* one */" in variant.changes[0].text


def test_quilt_series_has_an_order_and_levels(tmp_path: Path) -> None:
    folder = tmp_path / "patches"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.patch").write_text(diff_of(COMMENT, name))
    (folder / "series").write_text("# comment\nb.patch -p2\n\na.patch # why\n")
    changes = load_variant(str(folder)).changes
    assert [(change.name, change.strip) for change in changes] == [("b.patch", 2), ("a.patch", 1)]


def test_series_that_names_a_missing_patch(tmp_path: Path) -> None:
    (tmp_path / "series").write_text("gone.patch\n")
    with pytest.raises(ConfigurationError, match=r"gone\.patch"):
        load_variant(str(tmp_path))


def test_format_patch_folder(tmp_path: Path) -> None:
    (tmp_path / "0002-b.patch").write_text(mail("[PATCH 2/2] b", diff_of("x", "y")))
    (tmp_path / "0001-a.patch").write_text(mail("[PATCH 1/2] a", diff_of(COMMENT, "x")))
    (tmp_path / "0000-cover-letter.patch").write_text(mail("[PATCH 0/2] c", "text"))
    names = [change.name for change in load_variant(str(tmp_path)).changes]
    assert names == ["[PATCH 1/2] a", "[PATCH 2/2] b"]


def test_file_without_a_patch(tmp_path: Path) -> None:
    file = tmp_path / "readme.txt"
    file.write_text("hello\n")
    with pytest.raises(ConfigurationError, match="no patch in it"):
        load_variant(str(file))


def test_name_that_is_nothing() -> None:
    with pytest.raises(ConfigurationError, match="neither a variant's name nor a file") as raised:
        load_variant("tasklets")
    assert "tasklet" in raised.value.todo
