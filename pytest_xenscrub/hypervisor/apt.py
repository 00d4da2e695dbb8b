# SPDX-License-Identifier: MIT
"""Fetches Debian source packages with a private apt configuration, derived from the machine's.

The machine's apt state is read and never written: sources, lists and cache are private folders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.hypervisor.process import need, run
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline


def source_lines(sources: Path, *, one_line: Path | None = None) -> str:
    """The machine's package sources, as sources of source packages.

    Args:
        sources: folder of `*.list` and `*.sources` files.
        one_line: the classic `sources.list`, if there is one.

    Returns:
        deb822 text with a stanza for each enabled archive.
    """
    stanzas: list[str] = []
    files = [one_line] if one_line and one_line.is_file() else []
    if sources.is_dir():
        files += sorted(sources.glob("*.list")) + sorted(sources.glob("*.sources"))
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".sources":
            stanzas += _from_deb822(text)
        else:
            stanzas += _from_one_line(text)
    return "\n\n".join(dict.fromkeys(stanzas)) + "\n"


def _from_deb822(text: str) -> list[str]:
    """The enabled stanzas of a `.sources` file, without comments."""
    text = re.sub(r"^#.*\n?", "", text, flags=re.M)
    stanzas = []
    for stanza in re.split(r"\n\s*\n", text.strip()):
        if "URIs:" not in stanza or re.search(r"^Enabled:\s*(no|false|0)", stanza, re.M | re.I):
            continue
        stanzas.append(re.sub(r"^Types:.*$", "Types: deb-src", stanza.strip(), flags=re.M))
    return stanzas


def _from_one_line(text: str) -> list[str]:
    """The `deb` and `deb-src` lines of a `.list` file, as stanzas."""
    pattern = re.compile(r"^\s*deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)([^#\n]*)", re.M)
    names = {"signed-by": "Signed-By", "trusted": "Trusted"}
    stanzas = []
    for options, uri, suite, components in pattern.findall(text):
        stanza = [f"Types: deb-src\nURIs: {uri}\nSuites: {suite}"]
        if components.strip():
            stanza.append(f"Components: {components.strip()}")
        for option in options.split():
            key, _, value = option.partition("=")
            if key.lower() in names:
                stanza.append(f"{names[key.lower()]}: {value}")
        stanzas.append("\n".join(stanza))
    return stanzas


@dataclass(frozen=True)
class PrivateApt:
    """An apt with its own sources, lists and cache in `folder`.

    Attributes:
        folder: folder of its state, which may be removed at any time.
        etc: the machine's apt configuration, read for its archives.
    """

    folder: Path
    etc: Path = Path("/etc/apt")

    def _options(self) -> list[str]:
        return [
            f"-oDir::Etc::SourceList={self.folder}/xenscrub.sources",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={self.folder}/lists",
            f"-oDir::Cache={self.folder}/cache",
            # apt's own user cannot write to a cache in a home folder.
            "-oAPT::Sandbox::User=",
        ]

    def update(self, *, deadline: Deadline, update: Update = quiet) -> None:
        """Fetch the indices of source packages.

        Raises:
            MissingToolError: this machine has no apt.
            InfrastructureError: no archive is configured, or none could be reached.
        """
        need("apt-get", "dpkg-source", purpose="--xen-source=debian")
        text = source_lines(self.etc / "sources.list.d", one_line=self.etc / "sources.list")
        if not text.strip():
            raise InfrastructureError(
                "this machine's apt has no archives to ask for a source package",
                tried=f"{self.etc}/sources.list, {self.etc}/sources.list.d",
                todo="give --xen-source a folder, a git repository or a tarball",
            )
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "xenscrub.sources").write_text(text, encoding="utf-8")
        argv = ["apt-get", *self._options(), "-q", "update"]
        status, output = run(argv, deadline=deadline, update=update)
        if status:
            raise InfrastructureError(
                "the indices of Debian's source packages could not be fetched",
                tried=" ".join(argv),
                todo="check the machine's mirror, or give --xen-source another tree",
                evidence={"apt-get": _tail(output)},
            )

    def versions(self, package: str, *, deadline: Deadline) -> list[str]:
        """The versions of a source package in the indices, in apt's order, each once."""
        argv = ["apt-cache", *self._options(), "showsrc", "--only-source", package]
        _, output = run(argv, deadline=deadline)
        return list(dict.fromkeys(re.findall(r"^Version: (\S+)", output, re.M)))

    def download(
        self, package: str, version: str, into: Path, *, deadline: Deadline
    ) -> tuple[Path | None, str]:
        """Fetch the files of one version.

        Returns:
            The `.dsc` file, or None if the mirror lacks what its index lists; and apt's output.
        """
        argv = [
            *("apt-get", *self._options(), "-q", "source", "--download-only"),
            f"{package}={version}",
        ]
        status, output = run(argv, deadline=deadline, cwd=into)
        found = next(into.glob("*.dsc"), None)
        return (None if status else found), _tail(output)


def _tail(text: str, lines: int = 8) -> str:
    """The last lines of a program's output."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
