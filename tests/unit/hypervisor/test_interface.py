# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.emulated.image_recipe import XEN_OF_SUITE
from pytest_xenscrub.hypervisor.artefact import Artefact
from pytest_xenscrub.hypervisor.interface import (
    TOOLS_OF_SUITE,
    Interfaces,
    check_interfaces,
    tools_of_suite,
)

NEW = Interfaces(domctl=0x17, sysctl=0x15)
OLD = Interfaces(domctl=0x15, sysctl=0x15)


def artefact(interfaces: Interfaces, version: str = "4.20.4") -> Artefact:
    path = Path("none")
    return Artefact(
        elf=path, gz=path, build_id="", config=path, symbols=path, log=path, version=version,
        debug=False, variant="tasklet", domctl=interfaces.domctl, sysctl=interfaces.sysctl,
    )  # fmt: skip


def test_matching_tools_pass() -> None:
    check_interfaces(artefact(NEW), tools_of_suite("trixie"), suite="trixie")
    check_interfaces(artefact(OLD), OLD)


def test_every_suite_is_known() -> None:
    assert TOOLS_OF_SUITE.keys() == XEN_OF_SUITE.keys()
    with pytest.raises(ConfigurationError, match="sid"):
        tools_of_suite("sid")


def test_error_names_both_versions_and_the_suite_that_matches() -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_interfaces(artefact(NEW), OLD, suite="bookworm")
    assert raised.value.what == (
        "bookworm's tools (4.17) do not drive this 4.20.4 hypervisor (tasklet):"
        " they speak domctl 0x15 and sysctl 0x15, it wants domctl 0x17 and sysctl 0x15"
    )
    assert "--xen-tools=build" in raised.value.todo
    assert "--xen-suite=trixie (4.20)" in raised.value.todo


def test_error_where_no_suite_matches() -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_interfaces(artefact(Interfaces(0x18, 0x16), "4.22"), OLD, suite="bookworm")
    assert "no --xen-suite has matching ones: bookworm has 4.17's" in raised.value.todo


def test_error_on_a_real_host_names_no_suite() -> None:
    with pytest.raises(ConfigurationError, match="the tools in dom0 do not drive") as raised:
        check_interfaces(artefact(NEW), OLD)
    assert "--xen-suite" not in raised.value.todo
    assert "install the tools of that release in dom0" in raised.value.todo
