# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.target import Target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("lab7", Target("lab7")),
        ("root@lab7", Target("lab7", "root")),
        ("root@lab7:2222", Target("lab7", "root", 2222)),
        ("10.0.0.1:22", Target("10.0.0.1", None, 22)),
        ("[fd00::7]", Target("fd00::7")),
        ("me@[fd00::7]:2222", Target("fd00::7", "me", 2222)),
        ("fd00::7", Target("fd00::7")),
        ("fe80::1%eth0", Target("fe80::1%eth0")),
    ],
)
def test_target_is_taken_apart(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    ["", "@lab7", "root@", "lab7:", "lab7:ssh", "lab7:0", "lab7:65536", "[fd00::7", "[lab7]:22",
     "-oProxyCommand=x", "-l@lab7", "a b", "lab7;reboot", "ro ot@lab7"],
)  # fmt: skip
def test_what_is_no_target_is_the_users_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a host"):
        parse_target(text)
