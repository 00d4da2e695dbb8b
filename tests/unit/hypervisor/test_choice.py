# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.choice import Xens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def xens(
    *specs: str, also: Sequence[str] = (), config: Sequence[str] = (), build_tools: bool = False
) -> Xens:
    return Xens(
        specs,
        also=also,
        source="debian",
        config=config,
        cmdline="",
        build_tools=build_tools,
        say=lambda _: None,
        update=lambda _: None,
    )


def test_names_are_of_those_asked_for_and_in_their_order(tmp_path: Path) -> None:
    patch = tmp_path / "mine.cocci"
    patch.write_text("@@\n@@\n-a();\n")
    chosen = xens("sync", str(patch), "stock", also=("noscrub",))
    assert chosen.names == ("sync", "mine", "stock")
    assert "noscrub" in chosen.variants


def test_as_is_builds_nothing() -> None:
    xen = xens("as-is").get("as-is")
    assert xen.artefact is None
    assert xen.name == "as-is"


def test_two_variants_of_one_name_are_refused(tmp_path: Path) -> None:
    patch = tmp_path / "mine.cocci"
    patch.write_text("@@\n@@\n-a();\n")
    with pytest.raises(ConfigurationError, match="two variants of the name 'mine'"):
        xens(str(patch), str(patch))


def test_kconfig_for_a_xen_that_is_not_built_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none is"):
        xens("as-is", config=["DEBUG=y"])


def test_a_kconfig_option_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        xens("stock", config=["DEBUG"])
