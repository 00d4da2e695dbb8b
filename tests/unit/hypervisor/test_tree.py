# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.tree import describe_tree, read_version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("extra", "version"),
    [
        ("XEN_EXTRAVERSION ?= .5$(XEN_VENDORVERSION)", "4.17.5"),
        ("XEN_EXTRAVERSION ?= -unstable$(XEN_VENDORVERSION)", "4.17-unstable"),
        ("", "4.17"),
    ],
)
def test_version_is_what_the_makefile_declares(extra: str, version: str) -> None:
    text = f"export XEN_VERSION       = 4\nexport XEN_SUBVERSION    = 17\nexport {extra}\n"
    assert read_version(text) == version


def test_no_version_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no Xen version"):
        read_version("all:\n")


def test_interfaces_and_release(tree: Path) -> None:
    found = describe_tree(tree, spec="x", origin="x", digest="x")
    assert (found.domctl, found.sysctl, found.release) == (0x15, 0x14, (4, 17))


def test_header_without_the_macro_is_an_error(tree: Path) -> None:
    (tree / "xen/include/public/domctl.h").write_text("")
    with pytest.raises(ConfigurationError, match="XEN_DOMCTL_INTERFACE_VERSION"):
        describe_tree(tree, spec="x", origin="x", digest="x")
