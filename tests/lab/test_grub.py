# SPDX-License-Identifier: MIT
"""Deploy for real: a lab machine that boots through GRUB, played by QEMU."""

from __future__ import annotations

import gzip
import struct
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.grub import OneShotBoot
from pytest_xenscrub.boot.reboot import running, wait_for_boot
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    MissingToolError,
    XenFaultError,
)
from pytest_xenscrub.hypervisor.build import Builder
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import Change, Kind, Variant, load_variant
from pytest_xenscrub.testing import LabMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.hypervisor.artefact import Artefact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BOOT_SECONDS = 200.0
# All that a deploy may touch: names, owners, modes and content, GRUB's environment among them.
STATE = """
cd /boot; find . -printf '%p %m %u %g %s\\n' | sort; find . -type f | sort | xargs sha256sum
"""


@dataclass
class Lab:
    machine: LabMachine
    host: SshHost
    own: str

    def state(self) -> str:
        deadline = Deadline.after(30, "reading /boot")
        return self.host.run(["sh", "-c", STATE], deadline=deadline).stdout

    def reset(self) -> str:
        """Press the button, and say which Xen runs then."""
        since = running(self.host, Deadline.after(10, "who runs")).boot_id
        return self.reset_since(since)

    def reset_since(self, since: str) -> str:
        self.machine.power_cycle()
        return wait_for_boot(self.host, since, Deadline.after(BOOT_SECONDS, "reset")).build_id


def build(variant: Variant) -> Artefact:
    deadline = Deadline.after(600, "building Xen")
    cache = Cache()
    try:
        source = resolve_source("debian", cache=cache, deadline=deadline)
        return Builder(source, cache=cache).build(variant, deadline=deadline)
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def built() -> Artefact:
    """A hypervisor that is not the machine's own."""
    return build(load_variant("sync"))


@pytest.fixture(scope="module")
def panicking() -> Artefact:
    """A hypervisor that stops itself as soon as it has a console."""
    patch = b"""
@@
@@
 init_IRQ();
+panic("this hypervisor is not to come up\\n");
"""
    return build(
        Variant(
            "panic",
            Kind.SEMANTIC,
            defers=None,
            changes=(Change("panic.cocci", patch),),
            files=("xen/arch/x86/setup.c",),
        )
    )


def hanging(artefact: Artefact, folder: Path) -> Artefact:
    """The hypervisor with an endless loop where it begins."""
    elf = bytearray(artefact.elf.read_bytes())
    entry, headers = struct.unpack_from("<II", elf, 0x18)
    offset, _, address = struct.unpack_from("<III", elf, headers + 4)
    at = entry - address + offset
    elf[at : at + 2] = b"\xeb\xfe"
    return with_file(artefact, gzip.compress(bytes(elf), 1), folder)


def with_file(artefact: Artefact, content: bytes, folder: Path) -> Artefact:
    gz = folder / "xen.gz"
    gz.write_bytes(content)
    return replace(artefact, gz=gz)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        machine = LabMachine.start(say=print, deadline=Deadline.after(900, "lab machine"))
    except MissingToolError as error:
        pytest.skip(str(error))
    host = machine.connect()
    try:
        deadline = Deadline.after(60, "first boot")
        yield Lab(machine, host, running(host, deadline).build_id)
    finally:
        host.close()
        machine.close()


def deadline(step: str, seconds: float = BOOT_SECONDS) -> Deadline:
    return Deadline.after(seconds, step)


def test_the_hypervisor_that_was_built_runs_once(lab: Lab, built: Artefact) -> None:
    assert lab.own != built.build_id
    before = lab.state()
    one_shot = OneShotBoot(lab.host, built, xen_cmdline="watchdog=0", tag="once")

    assert one_shot.boot(deadline("boot")).build_id == built.build_id
    info = lab.host.run(["xl", "info"], deadline=deadline("xl info")).stdout
    assert built.build_id in info
    assert "dom0_mem=1024M,max:1024M" in info
    assert "watchdog=0" in info

    assert lab.reset() == lab.own

    # Lines of the first boot are still there.
    assert one_shot.boot(deadline("boot again")).build_id == built.build_id
    assert one_shot.restore(deadline("restore")).build_id == lab.own
    assert lab.state() == before
    assert one_shot.restore(deadline("restore again")).build_id == lab.own
    assert lab.state() == before


def test_a_custom_configuration_of_the_user_is_left_alone(lab: Lab, built: Artefact) -> None:
    script = "printf '# mine, with no end of line' > /boot/grub/custom.cfg"
    lab.host.run(["sh", "-c", script], deadline=deadline("custom.cfg"))
    try:
        before = lab.state()
        one_shot = OneShotBoot(lab.host, built, tag="custom")
        one_shot.boot(deadline("boot"))
        one_shot.restore(deadline("restore"))
        assert lab.state() == before
    finally:
        lab.host.run(["rm", "/boot/grub/custom.cfg"], deadline=deadline("rm"))


@pytest.mark.parametrize("what", ["garbage", "half a file"])
def test_what_grub_cannot_load_brings_the_own_xen_back(
    what: str, lab: Lab, built: Artefact, tmp_path: Path
) -> None:
    whole = gzip.decompress(built.gz.read_bytes())
    content = b"no hypervisor" * 1000 if what == "garbage" else whole[: len(whole) // 2]
    broken = with_file(built, gzip.compress(content), tmp_path)
    before = lab.state()
    one_shot = OneShotBoot(lab.host, broken, tag="broken")
    with pytest.raises(XenFaultError, match=f"{lab.own}, not {built.build_id}") as caught:
        one_shot.boot(deadline("boot"))
    assert "GRUB cannot load this hypervisor" in str(caught.value)
    assert one_shot.restore(deadline("restore")).build_id == lab.own
    assert lab.state() == before


def test_a_panic_is_an_error_with_both_build_ids(lab: Lab, panicking: Artefact) -> None:
    before = lab.state()
    one_shot = OneShotBoot(lab.host, panicking, tag="panic")
    with pytest.raises(XenFaultError, match=f"{lab.own}, not {panicking.build_id}") as caught:
        one_shot.boot(deadline("boot"))
    assert "this hypervisor is not to come up" in str(caught.value)
    assert one_shot.restore(deadline("restore")).build_id == lab.own
    assert lab.state() == before


def test_a_hang_ends_at_the_deadline_and_a_reset_cures_it(
    lab: Lab, built: Artefact, tmp_path: Path
) -> None:
    before = lab.state()
    since = running(lab.host, deadline("who runs")).boot_id
    stuck = hanging(built, tmp_path)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="did not come back within 40 s"):
        OneShotBoot(lab.host, stuck, tag="hang").boot(deadline("boot", 40))
    assert time.monotonic() - started < 60

    assert lab.reset_since(since) == lab.own

    # Another run, which knows nothing but the tag, can clean up.
    assert OneShotBoot(lab.host, built, tag="hang").restore(deadline("restore")).build_id == lab.own
    assert lab.state() == before
