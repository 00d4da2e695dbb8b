# SPDX-License-Identifier: MIT
"""Where the tests' own lab machine cannot be had, that is told; and never lost in CI."""

from __future__ import annotations

import os

import pytest

from fakehost import needs


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_no_sshd(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(needs, "SSHD", None)
    with pytest.raises(outcome, match="apt-get install openssh-server"):
        needs.need_sshd()


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_no_root_and_no_namespaces(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(outcome, match="run the tests as root"):
        needs.need_namespaces()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(needs, "_refused", lambda: "Operation not permitted")
    with pytest.raises(outcome, match=r"Operation not permitted.*CAP_SYS_ADMIN"):
        needs.need_namespaces()
