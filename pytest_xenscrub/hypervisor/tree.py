# SPDX-License-Identifier: MIT
"""What a Xen source tree declares: its version, and its interface versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SourceTree:
    """A pristine Xen source tree in the cache. Must not be written to.

    Attributes:
        path: its top folder.
        spec: what the user asked for: `debian`, a folder, `URL#REV`, a tarball.
        origin: what that was resolved to: a package version, a commit, a file.
        digest: digest of its content; trees with the same digest are the same.
        version: "4.17.5"; without a vendor's suffix of the build.
        domctl: version of the domctl interface in its public headers.
        sysctl: version of the sysctl interface in its public headers.
        notes: what was left out on the way to it, for the user.
    """

    path: Path
    spec: str
    origin: str
    digest: str
    version: str
    domctl: int
    sysctl: int
    notes: tuple[str, ...] = field(default=())

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor number, for comparisons: `(4, 17)`."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(re.match(r"\d+", minor)[0])  # type: ignore[index]


def describe_tree(
    path: Path, *, spec: str, origin: str, digest: str, notes: tuple[str, ...] = ()
) -> SourceTree:
    """Read a tree's version and interface versions.

    Raises:
        ConfigurationError: the folder is not a Xen tree.
    """
    makefile = path / "xen" / "Makefile"
    if not makefile.is_file():
        raise ConfigurationError(
            f"--xen-source={spec} is not a Xen source tree: it has no xen/Makefile",
            tried=str(path),
            todo="give the top folder of a Xen tree, as xenbits' tarballs and git have it",
        )
    public = path / "xen" / "include" / "public"
    return SourceTree(
        path=path,
        spec=spec,
        origin=origin,
        digest=digest,
        version=read_version(makefile.read_text(encoding="utf-8", errors="replace")),
        domctl=_interface_version(public / "domctl.h", "XEN_DOMCTL_INTERFACE_VERSION"),
        sysctl=_interface_version(public / "sysctl.h", "XEN_SYSCTL_INTERFACE_VERSION"),
        notes=notes,
    )


def read_version(makefile: str) -> str:
    """The version that a Makefile of Xen declares: "4.17.5", "4.22-unstable".

    Raises:
        ConfigurationError: the Makefile declares none.
    """
    found = dict(
        re.findall(
            r"^(?:export\s+)?XEN_(VERSION|SUBVERSION|EXTRAVERSION)\s*[?:]?=\s*(\S*)", makefile, re.M
        )
    )
    if not found.get("VERSION") or not found.get("SUBVERSION"):
        raise ConfigurationError(
            "no Xen version found in xen/Makefile",
            tried="XEN_VERSION, XEN_SUBVERSION",
            todo="check that this is a Xen source tree",
        )
    # Only the build knows a vendor's suffix, $(XEN_VENDORVERSION).
    extra = re.sub(r"\$[({].*", "", found.get("EXTRAVERSION", ""))
    return f"{found['VERSION']}.{found['SUBVERSION']}{extra}"


def _interface_version(header: Path, macro: str) -> int:
    """The value of a macro in a public header."""
    try:
        text = header.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"not a Xen source tree: {error}") from error
    if match := re.search(rf"^#define\s+{macro}\s+(0x[0-9a-fA-F]+|\d+)", text, re.M):
        return int(match[1], 0)
    raise ConfigurationError(f"{header} does not define {macro}", todo="is this a Xen tree?")
