# SPDX-License-Identifier: MIT
"""Builds a tree's own tools, each once, for a dom0 whose tools are of another release.

Builds only what drives guests: hypervisor libraries, xl, xenstored and its clients, xenconsoled,
Xen's Python bindings. Their prefix in dom0 is separate, so that dom0's own tools stay unchanged.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor.apply import apply_variant
from pytest_xenscrub.hypervisor.build_errors import machine_fault, telling_lines
from pytest_xenscrub.hypervisor.patch.in_use import TOOLS_FOLDERS, used_by_tools
from pytest_xenscrub.hypervisor.patch.placing import place
from pytest_xenscrub.hypervisor.process import run
from pytest_xenscrub.hypervisor.tools_artefact import (
    ToolsArtefact,
    is_complete,
    load_tools,
    pack_tools,
    write_record,
)
from pytest_xenscrub.hypervisor.tools_needs import (
    FOUND_BY_AUTOTOOLS,
    PATH,
    PYTHON,
    need_packages,
)
from pytest_xenscrub.hypervisor.variant import STOCK, Kind, Variant
from pytest_xenscrub.limits import usable_cpus
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.cache import Cache
    from pytest_xenscrub.hypervisor.tree import SourceTree

_LAYOUT = "1"
"""Part of every key. Change it when tools are built or kept differently, so that old ones do not
count."""

_CONFIGURE = (
    "--disable-xen", "--disable-docs", "--disable-stubdom", "--disable-systemd",
    "--disable-ocamltools", "--disable-golang", "--disable-xsmpolicy", "--disable-ovmf",
    "--disable-rombios", "--disable-seabios", "--disable-ipxe", "--disable-qemu-traditional",
    "--disable-blktap2", "--disable-pvshim", "--disable-monitors", "--disable-pygrub",
    "--disable-werror", "--with-system-qemu=/bin/false", "--enable-rpath",
    # Sockets, logs and xl.conf must be where dom0's own tools have them.
    "--sysconfdir=/etc", "--localstatedir=/var",
)  # fmt: skip
# Configure would find these libraries on a machine that has them, but dom0 may not have them.
_GIVEN = {
    "PKG_CONFIG": "/bin/false",
    "XGETTEXT": "/bin/false",
    "ac_cv_header_bzlib_h": "no",
    "ac_cv_header_lzma_h": "no",
    "ac_cv_header_lzo_lzo1x_h": "no",
}
_OLDEST = (4, 13)
"""The first release whose tools use Python 3."""


class ToolsBuilder:
    """Builds the tools of one tree.

    Args:
        source: the tree; only read.
        cache: keeps the builds.
        update: gets a line on what is being done.
    """

    def __init__(self, source: SourceTree, *, cache: Cache, update: Update = quiet) -> None:
        self.source = source
        self.cache = cache
        self.update = update

    def build(self, variant: Variant = STOCK, *, deadline: Deadline) -> ToolsArtefact:
        """Build the tree's tools, or take them from the cache.

        Args:
            variant: the hypervisor that the tools are for; its patches are applied only if they
                change the tools or the interface.
            deadline: limit.

        Raises:
            MissingToolError: programs or headers are not installed; the error names all packages.
            ConfigurationError: the tree is older than 4.13, or the variant does not apply, or
                breaks the tools.
            InfrastructureError: the unchanged tree's tools do not compile, or the deadline has
                passed.
        """
        if self.source.release < _OLDEST:
            raise ConfigurationError(
                f"the tools of Xen {self.source.version} are built with Python 2, which Debian no"
                " longer has",
                tried=f"--xen-tools=build for {self.source.origin}",
                todo="give --xen-source a tree of 4.13 or later, or use a real host with tools of"
                " that release",
            )
        if not touches_tools(variant, self.source.path):
            variant = STOCK
        python = need_packages(deadline)
        key = self._key(variant, python, deadline)
        kept = self.cache.path(f"tools-{key}")
        with self.cache.lock(f"tools-{key}", deadline=deadline):
            if not is_complete(kept):
                prefix = f"/opt/xenscrub-tools-{key[:12]}"
                self._make(variant, kept, prefix, python, deadline)
        return load_tools(kept)

    def _key(self, variant: Variant, python: str, deadline: Deadline) -> str:
        """Digest of everything that the tools depend on."""
        _, compiler = run(["gcc", "-v"], deadline=deadline, env={"PATH": PATH})
        parts = [_LAYOUT, self.source.digest, variant.digest, python, compiler, *_CONFIGURE]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def _make(
        self, variant: Variant, kept: Path, prefix: str, python: str, deadline: Deadline
    ) -> None:
        """Build in a scratch folder, and rename the result to its place."""
        with self.cache.scratch("tools") as scratch:
            log = scratch / "build.log"
            log.touch()
            tree = scratch / "tree"
            try:
                self.update("copying the tree for its tools")
                left_out = shutil.ignore_patterns(".git", "debian", "automation")
                shutil.copytree(self.source.path, tree, symlinks=True, ignore=left_out)
                if variant is not STOCK:
                    rejects = scratch / "rejects"
                    apply_variant(variant, tree, log=log, keep=rejects, deadline=deadline)
                step = _Step(self, variant, tree, log, deadline)
                step.configure(prefix)
                step.compile_into(scratch / "root", prefix)
                ready = scratch / "ready"
                ready.mkdir()
                pack_tools(scratch / "root" / prefix[1:], prefix, ready / "tools.tar.gz", deadline)
            except (ConfigurationError, InfrastructureError) as error:
                folder = self.cache.keep("tools")
                shutil.copy2(log, folder)
                error.evidence["log"] = str(folder / log.name)
                raise
            shutil.copy2(log, ready / "build.log")
            write_record(
                ready, tree,
                source=self.source, variant=variant, prefix=prefix, python=python,
            )  # fmt: skip
            # Left by a run that was killed between two renames; never complete, see `is_complete`.
            shutil.rmtree(kept, ignore_errors=True)
            ready.rename(kept)


@dataclass(frozen=True)
class _Step:
    """The common arguments of configuring and compiling."""

    builder: ToolsBuilder
    variant: Variant
    tree: Path
    log: Path
    deadline: Deadline

    def configure(self, prefix: str) -> None:
        """Run configure; generate it first if the tree does not have it."""
        if not (self.tree / "configure").is_file():
            self.builder.update("making configure")
            for name in ("config.guess", "config.sub"):
                if not (self.tree / name).is_file():
                    shutil.copy2(f"{FOUND_BY_AUTOTOOLS}/{name}", self.tree / name)
            self._run(["autoconf", "-f"], "autoconf failed", cwd=self.tree)
            self._run(["autoconf", "-f"], "autoconf failed", cwd=self.tree / "tools")
            self._run(["autoheader"], "autoheader failed", cwd=self.tree / "tools")
        self.builder.update("configuring the tools")
        options = [*_CONFIGURE, f"--prefix={prefix}", f"--libdir={prefix}/lib"]
        self._run(
            ["./configure", *options], "the tools cannot be configured", cwd=self.tree,
            env={**_GIVEN, "PYTHON": PYTHON},
        )  # fmt: skip

    def compile_into(self, root: Path, prefix: str) -> None:
        """Compile all folders that are needed, and install them below `root`."""
        jobs = f"-j{usable_cpus()}"
        arguments = [
            f"DESTDIR={root}",
            f"PYTHON_PREFIX_ARG=--prefix={prefix}",
            # The tree may be older than the compiler, whose new warnings must not end the build.
            "APPEND_CFLAGS=-Wno-error",
        ]
        for folder in TOOLS_FOLDERS:
            if not (self.tree / "tools" / folder / "Makefile").is_file():
                continue
            self.builder.update(f"building tools: {folder}")
            make = ["make", "-C", str(self.tree / "tools" / folder), *arguments]
            if folder == "python":
                # configure's rpath does not reach these links, and a RUNPATH does not apply to
                # indirect dependencies. Not set elsewhere, where it would replace what the
                # libraries' makefiles add.
                make.append(f"APPEND_LDFLAGS=-Wl,-rpath,{prefix}/lib")
            self._run([*make, jobs, "all"], "the tools do not compile")
            if folder != "include":
                self._run([*make, "install"], "the tools cannot be installed")

    def _run(
        self,
        argv: list[str],
        what: str,
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        env = {**(env or {}), "PATH": f"{PATH}:{os.environ.get('PATH', '')}"}
        status, output = run(argv, deadline=self.deadline, cwd=cwd, env=env, log=self.log)
        if status == 0:
            return
        ours = self.variant is STOCK or machine_fault(output)
        error = InfrastructureError if ours else ConfigurationError
        source = self.builder.source
        raise error(
            f"{what} ({source.origin}, {source.version})",
            tried=" ".join(argv),
            todo="use a dom0 whose tools match (--xen-suite), or see the log",
            evidence={"output": telling_lines(output)},
        )


def touches_tools(variant: Variant, tree: Path) -> bool:
    """Whether a variant changes files that the tools of a tree are built from.

    Raises:
        ConfigurationError: the variant names files that the tree does not have.
    """
    if variant.kind is not Kind.PATCHES:
        return False
    files = [file for patch in place(variant.changes, tree) for file in patch.files]
    return bool(used_by_tools(path for file in files for path in (file.old, file.new)))
