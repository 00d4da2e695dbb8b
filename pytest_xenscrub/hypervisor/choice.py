# SPDX-License-Identifier: MIT
"""The Xens that a run compares: chosen at its start, built before any host is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, XenScrubError
from pytest_xenscrub.hypervisor.defect import each_of
from pytest_xenscrub.hypervisor.variant import AS_IS, Variant, load_variant
from pytest_xenscrub.option_paths import DEFAULT_SOURCE
from pytest_xenscrub.system_errors import told_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_xenscrub.hypervisor.artefact import Artefact
    from pytest_xenscrub.hypervisor.cache import Cache
    from pytest_xenscrub.hypervisor.interface import Interfaces
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact
    from pytest_xenscrub.hypervisor.tree import SourceTree
    from pytest_xenscrub.telling import Say, Update

BUILD_SECONDS = 900.0


@dataclass(frozen=True)
class ChosenXen:
    """A Xen to run.

    Attributes:
        variant: the variant of Xen.
        artefact: the hypervisor to boot; None for the host's own.
        cmdline: boot options of the user, added to the tool's own.
        not_in_use: files that the variant changes but that no running program is built from.
        source: what it was built from, such as `git` and a commit; empty for the host's own.
    """

    variant: Variant = field(default=AS_IS)
    artefact: Artefact | None = None
    cmdline: str = ""
    not_in_use: tuple[str, ...] = ()
    source: str = ""

    @property
    def name(self) -> str:
        """The variant's name, as in the table."""
        return self.variant.name

    def unused_with(self, toolstack: str) -> tuple[str, ...]:
        """Files that the variant changes but that no program running with a toolstack uses.

        libvirt always uses dom0's own libraries of Xen, even if the tree's tools were built.

        Raises:
            ConfigurationError: no changed file is in use: the verdict would be on another Xen.
        """
        if toolstack == "xl" or self.artefact is None:
            return self.not_in_use
        touched = self.artefact.touched
        unused = dict.fromkeys((*self.not_in_use, *(p for p in touched if p.startswith("tools/"))))
        if unused and set(unused) >= set(touched):
            raise ConfigurationError(
                f"variant {self.name}: nothing of it is in use with {toolstack}, so it is stock",
                tried=f"tools that dom0's own {toolstack} does not use: {', '.join(unused)}",
                todo="--xen-toolstack=xl with --xen-tools=build uses them",
            )
        return tuple(unused)


class Xens:
    """The Xens of a run; each is built on its first use.

    Attributes:
        names: the names of the Xens that were asked for, in order.
        variants: the variants by name, including those of `also`.

    Args:
        specs: names and files, as in `--xen-variant`.
        also: names of further variants.
        source: as in `--xen-source`.
        config: options for Kconfig, as in `--xen-config`.
        cmdline: boot options for each Xen.
        build_tools: whether to build the tree's own tools if the host's do not match.
        say: prints a line for the user.
        update: shows a line that the next one replaces.

    Raises:
        ConfigurationError: a variant cannot be loaded, or two have the same name.
    """

    def __init__(
        self,
        specs: Sequence[str],
        *,
        also: Sequence[str] = (),
        source: str,
        config: Sequence[str],
        cmdline: str,
        build_tools: bool,
        say: Say,
        update: Update,
    ) -> None:
        from pytest_xenscrub.hypervisor.kconfig import parse_option  # noqa: PLC0415 - as below

        self.variants: dict[str, Variant] = {}
        for spec in (each for some in specs for each in each_of(some)):
            variant = load_variant(spec)
            if variant.name in self.variants:
                raise ConfigurationError(
                    f"--xen-variant={spec}: there are two variants of the name {variant.name!r}",
                    todo="rename the file, or name the variant once",
                )
            self.variants[variant.name] = variant
        self.names = tuple(self.variants)
        self.variants |= {name: load_variant(name) for name in also}
        for option in config:
            parse_option(option)
        given = {"--xen-config": config, "--xen-source": source != DEFAULT_SOURCE}
        self._check_used(given | {"--xen-tools=build": build_tools})
        self._source = source
        self._config = tuple(config)
        self._cmdline = cmdline
        self._build_tools = build_tools
        self._say = say
        self._update = update
        self._tree: SourceTree | None = None
        self._built: dict[str, ChosenXen] = {}

    def _check_used(self, given: Mapping[str, object]) -> None:
        """Check that options for built Xens were given only if a Xen is built.

        Otherwise the run would test another Xen than the user expects.

        Raises:
            ConfigurationError: no Xen is built.
        """
        unused = [option for option, is_given in given.items() if is_given]
        if unused and not any(variant.builds for variant in self.variants.values()):
            raise ConfigurationError(
                f"{unused[0]} is for a Xen that is built, and none is",
                todo="add --xen-variant=stock, or another one",
            )

    def get(self, name: str) -> ChosenXen:
        """The Xen of that name, built now unless it was before.

        Raises:
            ConfigurationError: its variant does not apply, or does not compile.
            InfrastructureError: the source cannot be fetched, or does not compile unchanged.
            MissingToolError: a program that the build needs is not installed.
        """
        if name not in self._built:
            variant = self.variants[name]
            with told_as(f"Xen {name} cannot be built"):  # a full disk, an unreadable file
                artefact = self._build(variant) if variant.builds else None
            unused = () if artefact is None else self._unused(name, artefact)
            source = "" if artefact is None or self._tree is None else self._tree.origin
            self._built[name] = ChosenXen(variant, artefact, self._cmdline, unused, source)
        return self._built[name]

    def missing(self, names: Iterable[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        """What this machine lacks to build some of these Xens.

        Nothing is missing for a Xen that was built before.

        Returns:
            For each purpose what is missing, with its Debian package.
        """
        built = [self.variants[name] for name in names if self.variants[name].builds]
        if not built:
            return {}
        from pytest_xenscrub.hypervisor import apply, build, process, source  # noqa: PLC0415
        from pytest_xenscrub.hypervisor.cache import Cache  # noqa: PLC0415
        from pytest_xenscrub.hypervisor.tools_needs import missing_packages  # noqa: PLC0415

        lacking: dict[str, dict[str, str]] = {}
        cache = Cache()
        lacking[f"--xen-source={self._source}"] = process.missing(
            *source.programs_for(self._source, cache)
        )
        for variant in built:
            programs = [*build.PROGRAMS, *filter(None, [apply.PROGRAM.get(variant.kind)])]
            missing = process.missing(*programs)
            if missing and not self._was_built(variant, cache, deadline):
                lacking[f"--xen-variant={variant.name}"] = missing
        if self._build_tools:
            lacking["--xen-tools=build"] = missing_packages(deadline)
        return {purpose: missing for purpose, missing in lacking.items() if missing}

    def _was_built(self, variant: Variant, cache: Cache, deadline: Deadline) -> bool:
        from pytest_xenscrub.hypervisor.build import Builder  # noqa: PLC0415
        from pytest_xenscrub.hypervisor.source import is_remote  # noqa: PLC0415

        if self._tree is None and is_remote(self._source, cache):
            return False
        try:
            builder = Builder(self._resolved(deadline), cache=cache, options=self._config)
            return builder.cached(variant, deadline) is not None
        except XenScrubError:
            return False

    def tools_for(self, xen: ChosenXen, spoken: Interfaces, suite: str) -> ToolsArtefact | None:
        """The tools that must be put into dom0 to drive a Xen; None if dom0's own can drive it.

        That is so if dom0's tools do not match the Xen, or lack changes of the variant.

        Args:
            xen: the Xen.
            spoken: interface versions of dom0's tools.
            suite: the Debian release of an emulated host; empty for a real one.

        Raises:
            ConfigurationError: dom0's tools do not match, and --xen-tools=build was not given.
        """
        from pytest_xenscrub.hypervisor.interface import (  # noqa: PLC0415 - only where one is
            check_interfaces,
            matches,
        )
        from pytest_xenscrub.hypervisor.patch.in_use import used_by_tools  # noqa: PLC0415

        if xen.artefact is None:
            return None
        own = self._build_tools and used_by_tools(xen.artefact.touched)
        if matches(xen.artefact, spoken) and not own:
            return None
        if not self._build_tools:
            check_interfaces(xen.artefact, spoken, suite=suite)
        from pytest_xenscrub.hypervisor.cache import Cache  # noqa: PLC0415
        from pytest_xenscrub.hypervisor.tools import ToolsBuilder  # noqa: PLC0415

        deadline = Deadline.after(BUILD_SECONDS, f"building the tools of Xen {xen.name}")
        builder = ToolsBuilder(self._resolved(deadline), cache=Cache(), update=self._update)
        tools = builder.build(xen.variant, deadline=deadline)
        self._say(f"built the tools of Xen {tools.version} for {xen.name}")
        return tools

    def _resolved(self, deadline: Deadline) -> SourceTree:
        """The source, fetched on first use."""
        if self._tree is None:
            from pytest_xenscrub.hypervisor.cache import Cache  # noqa: PLC0415 - only where one is
            from pytest_xenscrub.hypervisor.source import resolve_source  # noqa: PLC0415

            self._tree = resolve_source(
                self._source, cache=Cache(), deadline=deadline, update=self._update
            )
            for note in self._tree.notes:
                self._say(note)
        return self._tree

    def _build(self, variant: Variant) -> Artefact:
        from pytest_xenscrub.hypervisor.build import Builder  # noqa: PLC0415 - only where one is
        from pytest_xenscrub.hypervisor.cache import Cache  # noqa: PLC0415

        deadline = Deadline.after(BUILD_SECONDS, f"building Xen {variant.name}")
        tree, cache = self._resolved(deadline), Cache()
        builder = Builder(tree, cache=cache, options=self._config, update=self._update)
        artefact = builder.build(variant, deadline=deadline)
        self._say(
            f"built {variant.name}: Xen {artefact.version} debug="
            f"{'y' if artefact.debug else 'n'}, build id {artefact.build_id[:12]}"
        )
        for note in (*variant.notes, *artefact.notes):
            self._say(f"{variant.name}: {note}")
        return artefact

    def _unused(self, name: str, artefact: Artefact) -> tuple[str, ...]:
        """The files of the variant that nothing that runs is built from; prints a line on them.

        Raises:
            ConfigurationError: no changed file is in use, so the verdict would be on another Xen.
        """
        from pytest_xenscrub.hypervisor.apply import shown  # noqa: PLC0415
        from pytest_xenscrub.hypervisor.patch import in_use  # noqa: PLC0415 - only where one is built

        tools = in_use.not_in_use(artefact.touched, build_tools=self._build_tools)
        idle = [*artefact.not_compiled, *tools]
        parts = []
        if artefact.not_compiled:
            parts.append(f"not compiled here: {shown(list(artefact.not_compiled))}")
        if tools:
            why = "not built here" if self._build_tools else "dom0's own tools drive it"
            parts.append(f"{why}: {shown(tools)}")
        hint = "" if self._build_tools else "; --xen-tools=build builds and uses the tools too"
        if idle and set(idle) >= set(artefact.touched):
            raise ConfigurationError(
                f"variant {name}: nothing of it would be in use, so it is stock",
                tried="; ".join(parts),
                todo="give --xen-tools=build, so that the tree's own tools are used"
                if tools and not self._build_tools
                else "give a patch of what runs on this machine, or --xen-variant=stock",
            )
        shared = [] if self._build_tools else in_use.shared_with_tools(artefact.touched)
        if shared:
            parts.append(f"dom0's own tools were built without: {shown(shared)}")
        if parts:
            said = f"{name}: not all of it is in use: {'; '.join(parts)}"
            self._say(said + (hint if tools or shared else ""))
        return tuple(idle)
