# SPDX-License-Identifier: MIT
"""What the operating system refuses is the machine's fault, told in a sentence."""

from __future__ import annotations

import errno

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.system_errors import told_as


def test_a_refusal_is_infrastructure_and_says_what_to_do() -> None:
    with pytest.raises(InfrastructureError) as caught, told_as("the log cannot be written"):
        raise OSError(errno.ENOSPC, "No space left on device", "/var/log/x")
    assert caught.value.what == "the log cannot be written: No space left on device"
    assert caught.value.tried == "/var/log/x"
    assert caught.value.todo == "make room on that disk"


def test_a_mistake_of_this_package_is_not_explained_away() -> None:
    with pytest.raises(ZeroDivisionError), told_as("the log cannot be written"):
        raise ZeroDivisionError
