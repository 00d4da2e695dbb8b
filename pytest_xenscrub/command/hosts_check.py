# SPDX-License-Identifier: MIT
"""Shows the findings of a health check of lab machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_xenscrub.boot.health import Finding
    from pytest_xenscrub.host.description import HostDescription

_HEADER = ("host", "check", "state", "seen", "next")
_TABLES = {"markdown": "github", "html": "html"}
FORMATS = ("text", *_TABLES)


def checked(described: HostDescription, config: Path | None) -> Sequence[Finding]:
    """The findings of one machine."""
    from pytest_xenscrub.boot.health import Finding, examine  # noqa: PLC0415 - after --help
    from pytest_xenscrub.errors import InfrastructureError  # noqa: PLC0415 - as above
    from pytest_xenscrub.host.ssh import SshHost  # noqa: PLC0415 - as above

    if described.target is None:
        raise TypeError(f"{described.name} is not reached over ssh")
    try:
        host = SshHost(described.target, config=config, name=described.name)
    except InfrastructureError as error:
        return [Finding("login", "bad", error.what, error.todo)]
    try:
        return list(examine(host, described))
    finally:
        host.close()


def is_ready(findings: Sequence[Finding]) -> bool:
    """Whether runs can use the machine."""
    return all(finding.state != "bad" for finding in findings)


def shown(found: Mapping[str, Sequence[Finding]], style: str) -> str:
    """The findings of machines, by their names.

    Args:
        found: the findings.
        style: one of `FORMATS`.
    """
    if style == "text":
        return "\n".join(line for name, findings in found.items() for line in _text(name, findings))
    lines = [
        [_cell(text, style) for text in (name, each.check, each.state, each.seen, each.todo)]
        for name, findings in found.items()
        for each in findings
    ]
    return tabulate(lines, headers=_HEADER, tablefmt=_TABLES[style], disable_numparse=True)


def _text(name: str, findings: Sequence[Finding]) -> list[str]:
    lines = [f"{name}: {'ready' if is_ready(findings) else 'NOT READY'}"]
    for each in findings:
        lines.append(f"  {each.state:<4}  {each.check:<9}  {each.seen}")
        if each.todo:
            lines.append(f"{'':19}next: {each.todo}")
    return lines


def _cell(text: str, style: str) -> str:
    line = " ".join(text.split())
    return line.replace("|", "\\|").replace("<", "\\<") if style == "markdown" else line
