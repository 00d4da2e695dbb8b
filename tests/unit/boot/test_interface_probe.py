# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pytest_xenscrub.boot.interface_probe import ask_tools
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.program import source
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.protocol import CommandResult
from pytest_xenscrub.hypervisor.interface import Interfaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.protocol import Host


class FakeHost:
    """A host on which every command ends as it was told."""

    name = "root@lab"

    def __init__(self, returncode: int, stdout: str, stderr: str = "") -> None:
        self.answer = (returncode, stdout, stderr)
        self.stdin: bytes | None = None

    def run(
        self, argv: Sequence[str], *, deadline: Deadline, check: bool, stdin: bytes | None
    ) -> CommandResult:
        assert not check
        self.stdin = stdin
        return CommandResult(tuple(argv), *self.answer)


def ask(host: FakeHost) -> Interfaces:
    return ask_tools(cast("Host", host), deadline=Deadline.after(10, "asking"))


def test_answer_of_dom0() -> None:
    host = FakeHost(0, '{"sysctl": 21, "domctl": 23}\n')
    assert ask(host) == Interfaces(domctl=0x17, sysctl=0x15)
    assert host.stdin == source("interface_probe")


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        ("", "no bindings: No module named 'xen'"),
        ('{"sysctl": 21}\n', ""),
        ("[]", ""),
        ('Welcome to lab!\n{"sysctl": 21, "domctl": 23}\n', ""),
    ],
)
def test_an_invalid_answer_is_shown(stdout: str, stderr: str) -> None:
    with pytest.raises(InfrastructureError, match="did not show") as raised:
        ask(FakeHost(1, stdout, stderr))
    assert raised.value.evidence["stderr"] == stderr
