# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError, MissingToolError
from pytest_xenscrub.hypervisor.apt import PrivateApt, source_lines

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
# comment
Types: deb
# in the middle
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/key.gpg

Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Enabled: no
"""


def test_deb822_sources_become_sources_of_source(tmp_path: Path) -> None:
    (tmp_path / "debian.sources").write_text(DEB822)
    assert source_lines(tmp_path) == (
        "Types: deb-src\n"
        "URIs: http://mirror.example.org/debian\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/key.gpg\n"
    )


def test_one_line_sources(tmp_path: Path) -> None:
    classic = tmp_path / "sources.list"
    classic.write_text(
        "# deb http://no.example.org/debian sid main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example.org/debian bookworm main contrib # x\n"
        "deb-src [signed-by=/k.gpg] http://a.example.org/debian bookworm main contrib\n"
    )
    assert source_lines(tmp_path / "none", one_line=classic) == (
        "Types: deb-src\nURIs: http://a.example.org/debian\nSuites: bookworm\n"
        "Components: main contrib\nSigned-By: /k.gpg\n"
    )


def test_machine_without_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_xenscrub.hypervisor.apt.need", lambda *_, **__: None)
    with pytest.raises(InfrastructureError, match="no archives"):
        PrivateApt(tmp_path / "apt", etc=tmp_path).update(deadline=Deadline.after(5, "apt"))


def test_machine_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="apt-get") as raised:
        PrivateApt(tmp_path).update(deadline=Deadline.after(5, "apt"))
    assert "dpkg-dev" in raised.value.todo
