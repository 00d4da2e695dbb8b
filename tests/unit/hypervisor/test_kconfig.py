# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.kconfig import check_taken, parse_option, with_options


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("DEBUG=y", "CONFIG_DEBUG=y"),
        ("CONFIG_DEBUG=y", "CONFIG_DEBUG=y"),
        ("DEBUG=n", "# CONFIG_DEBUG is not set"),
        ("NR_CPUS=64", "CONFIG_NR_CPUS=64"),
        ("CMDLINE=loglvl=all", 'CONFIG_CMDLINE="loglvl=all"'),
    ],
)
def test_option_as_kconfig_writes_it(text: str, line: str) -> None:
    assert parse_option(text).line == line


@pytest.mark.parametrize("text", ["DEBUG", "=y", "debug=y", "DEBUG="])
def test_not_an_option(text: str) -> None:
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        parse_option(text)


def test_option_replaces_what_was_there() -> None:
    config = "CONFIG_X86=y\n# CONFIG_DEBUG is not set\nCONFIG_DEBUG_INFO=y\n"
    assert with_options(config, (parse_option("DEBUG=y"),)) == (
        "CONFIG_X86=y\nCONFIG_DEBUG_INFO=y\nCONFIG_DEBUG=y\n"
    )


def test_option_that_did_not_stick() -> None:
    options = (parse_option("DEBUG=y"), parse_option("UBSAN=n"))
    check_taken("CONFIG_DEBUG=y\n", options)
    with pytest.raises(ConfigurationError, match="CONFIG_DEBUG=y"):
        check_taken("# CONFIG_DEBUG is not set\n", options)
