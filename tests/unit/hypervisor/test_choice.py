# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.errors import ConfigurationError, DeadlineExceededError
from pytest_xenscrub.hypervisor import tools_needs
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.choice import ChosenXen, Xens
from pytest_xenscrub.hypervisor.interface import Interfaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline


def xens(
    *specs: str,
    also: Sequence[str] = (),
    config: Sequence[str] = (),
    build_tools: bool = False,
    source: str = "debian",
) -> Xens:
    return Xens(
        specs,
        also=also,
        source=source,
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


def test_an_invalid_kconfig_option_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        xens("stock", config=["DEBUG"])


def test_what_is_missing_to_build_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Path, deadline: Deadline
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    patch = tmp_path / "mine.diff"
    patch.write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    chosen = xens("as-is", "stock", "sync", str(patch), source=str(tree))
    built = xens("stock", source=str(tree))
    built.get("stock")
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = chosen.missing(chosen.names, deadline)
    # stock is in the cache.
    assert set(missing) == {"--xen-variant=sync", "--xen-variant=mine"}
    assert missing["--xen-variant=sync"]["spatch"] == "coccinelle"
    assert missing["--xen-variant=mine"]["patch"] == "patch"
    assert chosen.missing(["as-is", "stock"], deadline) == {}
    from_debian = xens("stock").missing(["stock"], deadline)
    assert from_debian["--xen-source=debian"]["dpkg-source"] == "dpkg-dev"


def test_tools_that_are_to_be_built_are_looked_for_too(
    monkeypatch: pytest.MonkeyPatch, deadline: Deadline
) -> None:
    monkeypatch.setattr(tools_needs, "PATH", "")
    missing = xens("stock", build_tools=True).missing(["stock"], deadline)
    assert {"autoconf", "iasl"} <= set(missing["--xen-tools=build"])


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"config": ["DEBUG=y"]}, "--xen-config"),
        ({"source": "/tree"}, "--xen-source"),
        ({"build_tools": True}, "--xen-tools=build"),
    ],
)
def test_what_is_for_a_xen_that_is_built_is_refused_where_none_is(
    given: dict[str, Any], option: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is for a Xen that is built"):
        xens("as-is", **given)
    xens("as-is", "stock", **given)
    xens("as-is", also=("noscrub",), **given)


def test_a_variant_that_cannot_be_read_yet_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Path, deadline: Deadline
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chosen = xens("stock", source=str(tree))
    chosen.get("stock")
    (variant,) = chosen.variants.values()
    assert chosen._was_built(variant, Cache(), deadline)

    def unreadable(*_: object, **__: object) -> None:
        raise ConfigurationError("the tree cannot be read")

    monkeypatch.setattr(chosen, "_resolved", unreadable)
    assert not chosen._was_built(variant, Cache(), deadline)


def test_what_is_built_for_too_long_is_not_xens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chosen = xens("stock", build_tools=True)

    def lets_it_pass(deadline: Deadline) -> NoReturn:
        raise deadline.error()

    monkeypatch.setattr(chosen, "_resolved", lets_it_pass)
    with pytest.raises(DeadlineExceededError, match="building Xen stock"):
        chosen.get("stock")
    artefact: Any = MagicMock(domctl=1, sysctl=1, touched=[], build_id="c0ffee")
    (variant,) = chosen.variants.values()
    with pytest.raises(DeadlineExceededError, match="building the tools of Xen stock"):
        chosen.tools_for(ChosenXen(variant, artefact), Interfaces(2, 2), "")
