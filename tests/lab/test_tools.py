# SPDX-License-Identifier: MIT
"""A tree's own tools for real: on an emulated bookworm whose own tools do not drive its Xen."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.interface_probe import ask_tools
from pytest_xenscrub.boot.tools_dom0 import HostWithTools, activate, install, remove
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError, MissingToolError
from pytest_xenscrub.guest.build import build_kernel
from pytest_xenscrub.host.emulated import EmulatedHost, MachineSpec
from pytest_xenscrub.hypervisor.build import Builder
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.interface import check_interfaces, tools_of_suite
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.tools import ToolsBuilder
from pytest_xenscrub.hypervisor.variant import STOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_xenscrub.hypervisor.artefact import Artefact
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact
    from pytest_xenscrub.hypervisor.tree import SourceTree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SUITE = "bookworm"
MEMORY = 2 << 30
OTHER = "PYTEST_XEN_OTHER_SOURCE"
"""A tree of another release than the suite's, as `--xen-source` takes it."""

GUEST = """
type = "pv"
name = "xenscrub-tools"
kernel = "/run/xenscrub-tools/kernel"
memory = 64
vcpus = 1
"""
BINDINGS = """
import xen.lowlevel.xc
xc = xen.lowlevel.xc.xc()
print([info["domid"] for info in xc.domain_getinfo(0, 9)], xc.physinfo()["nr_cpus"])
print(xen.lowlevel.xc.__file__)
"""


@pytest.fixture(scope="module")
def cache() -> Cache:
    return Cache()


@pytest.fixture(scope="module")
def debian(cache: Cache) -> SourceTree:
    try:
        return resolve_source("debian", cache=cache, deadline=Deadline.after(300, "source"))
    except (InfrastructureError, MissingToolError) as error:
        pytest.skip(f"no source package of Debian's Xen: {error.what}")


@dataclass
class Built:
    xen: Artefact
    tools: ToolsArtefact


def build(source: SourceTree, cache: Cache) -> Built:
    try:
        xen = Builder(source, cache=cache).build(STOCK, deadline=Deadline.after(500, "Xen"))
        tools = ToolsBuilder(source, cache=cache).build(deadline=Deadline.after(500, "tools"))
    except MissingToolError as error:
        pytest.skip(str(error))
    return Built(xen, tools)


def booted(xen: Artefact | None = None) -> AbstractContextManager[EmulatedHost]:
    elf = None if xen is None else xen.elf
    spec = MachineSpec(suite=SUITE, memory_bytes=MEMORY, hypervisor=elf)

    try:
        deadline = Deadline.after(560, "starting the emulated host")
        return closing(EmulatedHost.start(spec, say=print, deadline=deadline))
    except MissingToolError as error:
        pytest.skip(str(error))


def drive(host: EmulatedHost, tools: ToolsArtefact, kernel: Path) -> None:
    """Put the tools into use, and let them create a guest, talk to it and destroy it."""

    def within(seconds: float) -> Deadline:
        return Deadline.after(seconds, "driving a guest")

    install(host, tools, deadline=within(60))
    ours = HostWithTools(host, activate(host, tools, deadline=within(90)))
    # What runs already is left alone.
    daemons = (
        "readlink /proc/$(pidof xenstored)/exe /proc/$(pidof xenconsoled)/exe; pidof xenstored"
    )
    before = ours.run(["sh", "-c", daemons], deadline=within(20)).stdout
    activate(host, tools, deadline=within(90))
    after = ours.run(["sh", "-c", daemons], deadline=within(20)).stdout
    assert before == after
    assert after.splitlines()[:2] == [f"{tools.prefix}/sbin/xen{n}d" for n in ("store", "console")]

    ours.run(["mkdir", "-p", "/run/xenscrub-tools"], deadline=within(20))
    ours.put(kernel, "/run/xenscrub-tools/kernel", deadline=within(20))
    write = ["sh", "-c", "cat > /run/xenscrub-tools/guest.cfg"]
    ours.run(write, deadline=within(20), stdin=GUEST.encode())
    ours.run(["xl", "create", "/run/xenscrub-tools/guest.cfg"], deadline=within(60))
    assert "xenscrub-tools" in ours.run(["xl", "list"], deadline=within(30)).stdout
    seen = ours.run(["python3", "-c", BINDINGS], deadline=within(30)).stdout
    assert seen.startswith("[0, 1] 2\n")
    assert f"{tools.bindings}/xen/lowlevel/xc" in seen
    console = ["sh", "-c", "timeout 5 xl console -t pv xenscrub-tools | head -c 100"]
    assert ours.run(console, deadline=within(30), check=False).stdout.strip()
    ours.run(["xl", "destroy", "xenscrub-tools"], deadline=within(60))
    assert "xenscrub-tools" not in ours.run(["xl", "list"], deadline=within(30)).stdout
    remove(host, tools, deadline=within(20))
    assert host.run(["test", "-e", tools.prefix], deadline=within(20), check=False).returncode == 1


def refused_without(built: Built) -> None:
    own = tools_of_suite(SUITE)
    with pytest.raises(ConfigurationError, match="do not drive") as raised:
        check_interfaces(built.xen, own, suite=SUITE)
    assert "--xen-tools=build" in raised.value.todo


@pytest.fixture(scope="module")
def kernel() -> Path:
    try:
        return build_kernel()
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture
def bumped(debian: SourceTree, tmp_path: Path) -> Iterator[Path]:
    """Debian's tree with another number for its domctl: agrees with itself, not with dom0."""
    tree = tmp_path / "bumped"
    left_out = shutil.ignore_patterns("debian", "automation", "docs")
    shutil.copytree(debian.path, tree, symlinks=True, ignore=left_out)
    header = tree / "xen/include/public/domctl.h"
    old = f"XEN_DOMCTL_INTERFACE_VERSION {debian.domctl:#010x}"
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, f"XEN_DOMCTL_INTERFACE_VERSION {debian.domctl + 4096:#x}"))
    yield tree
    shutil.rmtree(tree)


def test_what_is_known_of_a_suite_is_what_its_tools_do() -> None:
    with booted() as host:
        assert ask_tools(host, deadline=Deadline.after(60, "asking")) == tools_of_suite(SUITE)


def test_tools_drive_a_xen_whose_domctl_differs(
    bumped: Path, cache: Cache, kernel: Path, tmp_path: Path
) -> None:
    # Builds are kept for the next run, a tree that nobody has released is not.
    own = Cache(tmp_path / "cache")
    source = resolve_source(str(bumped), cache=own, deadline=Deadline.after(120, "source"))
    built = build(source, cache)
    refused_without(built)
    with booted(built.xen) as host:
        # dom0's own are still what they were, although nothing that they ask for is granted.
        assert ask_tools(host, deadline=Deadline.after(60, "asking")) == tools_of_suite(SUITE)
        drive(host, built.tools, kernel)


@pytest.mark.skipif(not os.environ.get(OTHER), reason=f"{OTHER} names no tree of another release")
def test_tools_drive_a_xen_of_another_release(cache: Cache, kernel: Path) -> None:
    spec = os.environ[OTHER]
    source = resolve_source(spec, cache=cache, deadline=Deadline.after(300, "source"))
    built = build(source, cache)
    refused_without(built)
    with booted(built.xen) as host:
        drive(host, built.tools, kernel)
