# SPDX-License-Identifier: MIT
from __future__ import annotations

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
    assert variant.builds is (name != "as-is")


def test_every_variant_has_a_digest_of_its_own() -> None:
    digests = [load_variant(name).digest for name in BUILT_IN]
    assert len(set(digests)) == len(digests)


def test_unified_diff(tmp_path: Path) -> None:
    file = tmp_path / "fix.patch"
    file.write_text(diff_of(COMMENT, "/* patched */"))
    variant = load_variant(str(file))
    assert (variant.name, variant.kind, variant.defers) == ("fix", Kind.PATCHES, None)
    assert [change.strip for change in variant.changes] == [None]


def test_semantic_patch(tmp_path: Path) -> None:
    file = tmp_path / "mine.cocci"
    file.write_text("@@ @@\n- a();\n")
    variant = load_variant(str(file))
    assert (variant.name, variant.kind, variant.defers) == ("mine", Kind.SEMANTIC, None)


def test_file_without_a_patch(tmp_path: Path) -> None:
    file = tmp_path / "readme.txt"
    file.write_text("hello\n")
    with pytest.raises(ConfigurationError, match="no patch in it"):
        load_variant(str(file))


def test_name_that_is_nothing() -> None:
    with pytest.raises(ConfigurationError, match="neither a variant's name nor a file") as raised:
        load_variant("tasklets")
    assert "tasklet" in raised.value.todo


@pytest.mark.parametrize(
    "name", ["noscrub.patch", "stock.cocci", "(stock).patch", "[noscrub] .diff", " as-is.mbox"]
)
def test_file_that_has_the_name_of_one_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(diff_of(COMMENT, "x"))
    with pytest.raises(ConfigurationError, match="is the name of a variant of our own"):
        load_variant(str(tmp_path / name))


def test_name_of_a_mail_that_was_saved_by_its_subject(tmp_path: Path) -> None:
    file = tmp_path / "[PATCH 1_1] xen: x.eml"
    file.write_text(diff_of(COMMENT, "x"))
    assert load_variant(str(file)).name == "PATCH-1_1-xen-x"
