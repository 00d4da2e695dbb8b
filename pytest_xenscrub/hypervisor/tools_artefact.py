# SPDX-License-Identifier: MIT
"""`ToolsArtefact`: the files of tools that were built, and the record beside them."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.hypervisor.process import run
from pytest_xenscrub.hypervisor.tools_needs import PATH
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.variant import Variant

_RECORD = "tools.json"
_KEPT = (
    "sbin/xl", "sbin/xenstored", "sbin/xenconsoled", "bin/xenstore*", "lib/*.so.*",
    "lib/xen/bin/xenconsole", "lib/xen/bin/libxl-save-helper", "lib/xen/bin/xen-init-dom0",
)  # fmt: skip
_BINDINGS = "lib/python"


@dataclass(frozen=True)
class ToolsArtefact:
    """Tools that were built.

    Attributes:
        tarball: to be unpacked in dom0's root; all files are below `prefix`.
        prefix: the folder in dom0 that the tools were built for; its name is a digest of their
            sources.
        python: version of the Python that can load the bindings: "3.11".
        log: the build's output.
        version: Xen's version: "4.20.4".
        domctl: version of the domctl interface that the tools use.
        sysctl: version of the sysctl interface that the tools use.
    """

    tarball: Path
    prefix: str
    python: str
    log: Path
    version: str
    domctl: int
    sysctl: int

    @property
    def folders(self) -> str:
        """The folders of the programs, to be put before dom0's PATH."""
        return f"{self.prefix}/sbin:{self.prefix}/bin"

    @property
    def bindings(self) -> str:
        """The folder of Xen's Python bindings, for PYTHONPATH."""
        return f"{self.prefix}/{_BINDINGS}"


def is_complete(kept: Path) -> bool:
    """Whether a folder has complete tools, whose record is written last."""
    return (kept / _RECORD).is_file()


def load_tools(kept: Path) -> ToolsArtefact:
    """Load tools from their record."""
    record: dict[str, Any] = json.loads((kept / _RECORD).read_text(encoding="utf-8"))
    return ToolsArtefact(
        tarball=kept / "tools.tar.gz",
        prefix=record["prefix"],
        python=record["python"],
        log=kept / "build.log",
        version=record["version"],
        domctl=record["domctl"],
        sysctl=record["sysctl"],
    )


def write_record(
    ready: Path, tree: Path, *, source: SourceTree, variant: Variant, prefix: str, python: str
) -> None:
    """Write the record of what was built, which makes the folder complete.

    Args:
        ready: the folder of the kept files.
        tree: the tree that was built.
        source: the tree without the variant.
        variant: the variant that was applied.
        prefix: the folder in dom0 that the tools were built for.
        python: version of the Python that can load the bindings.
    """
    # Interface versions come from the built tree, because a patch may have changed them.
    built = describe_tree(tree, spec=source.spec, origin="", digest="")
    record = {
        "prefix": prefix,
        "python": python,
        "version": source.version,
        "domctl": built.domctl,
        "sysctl": built.sysctl,
        "origin": source.origin,
        "variant": variant.name,
    }
    (ready / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def pack_tools(built: Path, prefix: str, tarball: Path, deadline: Deadline) -> None:
    """Pack the stripped files that are needed at run time, to be unpacked in dom0's root."""
    bindings = next(built.rglob("xen/lowlevel"), None)
    if bindings is None or not list(bindings.glob("xc*.so")):
        raise InfrastructureError("the tools were built without Xen's Python bindings")
    files: dict[str, Path] = {}
    for pattern in _KEPT:
        found = sorted(built.glob(pattern))
        if not found:
            raise InfrastructureError(f"the tools were built without {pattern}", tried=str(built))
        files |= {str(path.relative_to(built)): path for path in found}
    top = bindings.parent.parent
    for path in (top / "xen" / "__init__.py", bindings / "__init__.py", *bindings.glob("xc*.so")):
        if path.exists():
            files[f"{_BINDINGS}/{path.relative_to(top)}"] = path
    programs = [str(path) for path in files.values() if _is_elf(path)]
    if programs:
        argv = ["strip", "--strip-unneeded", *programs]
        status, output = run(argv, deadline=deadline, env={"PATH": PATH})
        if status:
            raise InfrastructureError("the tools could not be stripped", evidence={"strip": output})
    with tarfile.open(tarball, "w:gz") as tar:
        for name, path in files.items():
            tar.add(path, arcname=f"{prefix[1:]}/{name}", recursive=False, filter=_as_root)


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
