# SPDX-License-Identifier: MIT
"""Builds hypervisors, each once; the cache finds a build by everything that it was built from.

First the unchanged tree is built and kept with its objects. A variant starts as a copy of that, so
that make compiles only what the variant changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.hypervisor import kconfig
from pytest_xenscrub.hypervisor.apply import Applied, apply_variant
from pytest_xenscrub.hypervisor.artefact import collect_artefact, is_complete, load_artefact
from pytest_xenscrub.hypervisor.build_errors import machine_fault, telling_lines
from pytest_xenscrub.hypervisor.old_release import compiler_for, python_for
from pytest_xenscrub.hypervisor.patch.placing import NOT_BUILT
from pytest_xenscrub.hypervisor.process import missing, need, run
from pytest_xenscrub.hypervisor.variant import STOCK, Kind, Variant
from pytest_xenscrub.limits import usable_cpus
from pytest_xenscrub.telling import Update, quiet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.hypervisor.artefact import Artefact
    from pytest_xenscrub.hypervisor.cache import Cache
    from pytest_xenscrub.hypervisor.tree import SourceTree

PROGRAMS = ("make", "gcc", "flex", "bison", "python3")
"""Programs that every build of Xen needs."""
_LAYOUT = "1"
"""Part of every key. Change it when builds are made or kept differently, so that old ones do not
count."""


class Builder:
    """Builds variants of one tree with one configuration.

    Args:
        source: the tree; only read.
        cache: keeps the builds.
        options: options for Kconfig, as in `--xen-config`.
        update: gets a line on what is being done.

    Raises:
        ConfigurationError: an option is not KEY=VALUE.
    """

    def __init__(
        self,
        source: SourceTree,
        *,
        cache: Cache,
        options: Sequence[str] = (),
        update: Update = quiet,
    ) -> None:
        self.source = source
        self.cache = cache
        self.options = tuple(sorted(kconfig.parse_option(text) for text in options))
        self.update = update

    def build(self, variant: Variant, *, deadline: Deadline) -> Artefact:
        """Build the variant's hypervisor, or take it from the cache.

        Raises:
            ConfigurationError: the variant does not apply or does not compile, or Kconfig did not
                take an option. The error names the log, which is kept.
            InfrastructureError: the unchanged tree does not compile, or the deadline has passed.
            MissingToolError: a program that the build needs is not installed.
        """
        if not variant.builds:
            raise ConfigurationError(f"variant {variant.name} is not built")
        if (known := self.cached(variant, deadline)) is not None:
            return known
        need(*PROGRAMS, purpose="building Xen")
        key = self._key(variant, deadline)
        kept = self.cache.path(key)
        base = None if variant.kind is Kind.STOCK else self._base(deadline)
        with self.cache.lock(key, deadline=deadline):
            if not is_complete(kept):
                self._make(variant, kept, base, deadline)
        return load_artefact(kept)

    def cached(self, variant: Variant, deadline: Deadline) -> Artefact | None:
        """The cached build of this variant; without gcc, a build by any compiler."""
        if not missing("gcc"):
            kept = [self.cache.path(self._key(variant, deadline))]
        else:
            kept = sorted(self.cache.root.glob(f"{self._inputs(variant)}-*"))
        return next((load_artefact(path) for path in kept if is_complete(path)), None)

    def _base(self, deadline: Deadline) -> Path:
        """The unchanged tree with its objects, from which variants are copied."""
        self.build(STOCK, deadline=deadline)
        return self.cache.path(self._key(STOCK, deadline)) / "tree"

    def _key(self, variant: Variant, deadline: Deadline) -> str:
        """Digest of everything that an artefact depends on."""
        _, compiler = run(["gcc", "-v"], deadline=deadline)
        return f"{self._inputs(variant)}-{hashlib.sha256(compiler.encode()).hexdigest()[:8]}"

    def _inputs(self, variant: Variant) -> str:
        """Digest of everything that an artefact depends on, except the compiler."""
        options = (option.line for option in self.options)
        parts = [_LAYOUT, self.source.digest, variant.digest, *options]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    def _make(self, variant: Variant, kept: Path, base: Path | None, deadline: Deadline) -> None:
        """Build in a scratch folder, and rename the result to its place."""
        with self.cache.scratch(variant.name) as scratch:
            log = scratch / "build.log"
            log.touch()
            tree = scratch / "tree"
            try:
                self._copy(base or self.source.path, tree, deadline)
                rejects = scratch / "rejects"
                applied = self._prepare(
                    variant, tree, log, rejects, is_copy=base is not None, deadline=deadline
                )
                self._compile(variant, tree, log, deadline)
                ready = scratch / "ready"
                collect_artefact(
                    tree, ready, log,
                    source=self.source, variant=variant, applied=applied, options=self.options,
                )  # fmt: skip
            except (ConfigurationError, InfrastructureError) as error:
                self._keep_evidence(variant, scratch, error)
                raise
            if variant.kind is Kind.STOCK:
                tree.rename(ready / "tree")
            # Left by a run that was killed between two renames; never complete, see `is_complete`.
            shutil.rmtree(kept, ignore_errors=True)
            ready.rename(kept)

    def _copy(self, origin: Path, tree: Path, deadline: Deadline) -> None:
        """Copy a tree with its times, which make compares; shares blocks if the file system can."""
        self.update("copying the tree")
        tree.mkdir()
        entries = [str(path) for path in sorted(origin.iterdir()) if path.name not in NOT_BUILT]
        argv = ["cp", "-a", "--reflink=auto", *entries, f"{tree}/"]
        status, output = run(argv, deadline=deadline)
        if status:
            raise InfrastructureError(
                "the tree could not be copied", tried=f"cp -a {origin}", evidence={"cp": output}
            )

    def _prepare(
        self,
        variant: Variant,
        tree: Path,
        log: Path,
        rejects: Path,
        *,
        is_copy: bool,
        deadline: Deadline,
    ) -> Applied:
        """Apply the variant and configure."""
        config = tree / "xen" / ".config"
        applied = Applied()
        if variant.kind is not Kind.STOCK:
            applied = apply_variant(variant, tree, log=log, keep=rejects, deadline=deadline)
            if is_copy and _reaches_others(applied):
                # Releases before 4.17 have absolute paths in their dependency files, so make would
                # look at the headers of the original tree; nor do they compile again if an option
                # of the compiler changes.
                self._make_target(["clean"], tree, log, deadline)
                if not (self.source.path / "xen" / ".config").exists():
                    # A default that the variant changes has no effect on an option that is set
                    # already.
                    config.unlink()
        if not config.exists():
            self._make_target(["defconfig"], tree, log, deadline)
            text = config.read_text(encoding="utf-8")
            config.write_text(kconfig.with_options(text, self.options), encoding="utf-8")
        self._make_target(["olddefconfig"], tree, log, deadline)
        kconfig.check_taken(config.read_text(encoding="utf-8"), self.options)
        return applied

    def _compile(self, variant: Variant, tree: Path, log: Path, deadline: Deadline) -> None:
        """Compile, and raise an error with the compiler's messages if that fails."""
        jobs = f"-j{usable_cpus()}"
        self._make_target([jobs, "build"], tree, log, deadline, variant)

    def _make_target(
        self, target: list[str], tree: Path, log: Path, deadline: Deadline, variant: Variant = STOCK
    ) -> None:
        compiler = compiler_for(self.source.release, deadline)
        argv = ["make", "-C", str(tree / "xen"), *compiler, *target]
        status, output = run(
            argv,
            deadline=deadline,
            env=self._environment(tree) | python_for(tree, deadline),
            log=log,
            update=lambda line: self._report(variant, line),
        )
        if status == 0:
            return
        if fault := machine_fault(output):
            raise InfrastructureError(
                f"variant {variant.name}: this machine could not build Xen: {fault.strip()[:200]}",
                tried=" ".join(argv),
                todo="give it more memory or disk space",
                evidence={"compiler": telling_lines(output)},
            )
        what = "Xen does not compile" if target[-1] == "build" else f"make {target[-1]} failed"
        error = InfrastructureError if variant.kind is Kind.STOCK else ConfigurationError
        raise error(
            f"variant {variant.name}: {what} ({self.source.origin}, {self.source.version})",
            tried=" ".join(argv),
            evidence={"compiler": telling_lines(output)},
        )

    def _report(self, variant: Variant, line: str) -> None:
        """Report a line of make that says what is compiled, in the format of any release."""
        if match := re.search(r"(?:^\s*CC\s+|\s-c\s)(\S+\.[co])\b", line):
            self.update(f"building {variant.name}: {match[1]}")

    def _environment(self, tree: Path) -> dict[str, str]:
        """The build's environment, with ccache before the compiler if it is installed."""
        ccache = shutil.which("ccache")
        if ccache is None:
            return {}
        links = self.cache.path("ccache-bin")
        links.mkdir(parents=True, exist_ok=True)
        for name in ("gcc", "cc"):
            link = links / name
            if not link.is_symlink():
                # Another run may create the link first.
                with suppress(FileExistsError):
                    link.symlink_to(ccache)
        return {
            "PATH": f"{links}:{os.environ.get('PATH', '')}",
            # ccache must recognise the same file in another copy of the tree.
            "CCACHE_BASEDIR": str(tree),
        }

    def _keep_evidence(
        self, variant: Variant, scratch: Path, error: ConfigurationError | InfrastructureError
    ) -> None:
        """Keep the log and the rejected hunks of a failed build, and name them in the error."""
        folder = self.cache.keep(variant.name)
        shutil.copy2(scratch / "build.log", folder)
        if (scratch / "rejects").is_dir():
            shutil.copytree(scratch / "rejects", folder, dirs_exist_ok=True)
        error.evidence["log"] = str(folder / "build.log")
        # The scratch folder is gone when the user reads the error.
        error.todo = error.todo.replace(str(scratch / "rejects"), str(folder))


def _reaches_others(applied: Applied) -> bool:
    """Whether objects of unchanged files may depend on the changes: headers, or make's files."""
    built = [path for path in applied.paths if not path.startswith("tools/")]
    return any(not path.endswith((".c", ".S")) for path in built)
