# SPDX-License-Identifier: MIT
"""Machines that are shared: two runs on one, guests of others, what a dead run left, a pool."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.grub import OneShotBoot
from pytest_xenscrub.boot.reboot import running, wait_for_boot
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.lock import PATH, Holder, HostLock
from pytest_xenscrub.errors import HostLockedError, MissingToolError
from pytest_xenscrub.guest.build import build_kernel
from pytest_xenscrub.hypervisor.build import Builder
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import load_variant
from pytest_xenscrub.testing import ALIAS

from .runs import lab_machine, run_pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.hypervisor.artefact import Artefact
    from pytest_xenscrub.testing import LabMachine

RUN_SECONDS = 400
BOOT_SECONDS = 200
OTHER = Holder("xenscrub-00aaaa", "alice", "desk3", "noon", "a test of hers")
# What a dead run leaves: a folder, a log, a lock that nobody holds.
LEFT = (
    "mkdir -p /run/xenscrub-00dead && touch /run/xenscrub-00dead/owner"
    " && touch /var/log/xen/xl-xenscrub-00dead-victim-1.log"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1100)]


@pytest.fixture(scope="module")
def machine() -> Iterator[LabMachine]:
    """A lab machine, played by QEMU."""
    with lab_machine() as lab:
        yield lab


@pytest.fixture
def host(machine: LabMachine) -> Iterator[SshHost]:
    """Our way to it, beside the runs'."""
    host = machine.connect()
    yield host
    host.close()


def sh(host: SshHost, script: str) -> str:
    return host.run(["sh", "-c", script], deadline=Deadline.after(60, script)).stdout


def run(*arguments: str) -> tuple[int, str]:
    """A run of one test of the suite proper, or of those that the arguments select."""
    done = run_pytest("-v", *arguments, seconds=RUN_SECONDS)
    print(done.output)
    return done.status, done.output


def run_on(machine: LabMachine, *arguments: str) -> tuple[int, str]:
    return run(
        "tests/scrub", "-k", "destroyed_guest_leaves_nothing",
        f"--xen-host={ALIAS}", f"--xen-ssh-config={machine.ssh_config}", *arguments,
    )  # fmt: skip


def create(host: SshHost, name: str) -> None:
    """A guest that is built and never runs."""
    host.put(build_kernel(), "/root/kernel.elf", deadline=Deadline.after(30, "kernel"))
    settings = f'name = "{name}"\ntype = "pv"\nmemory = 16\nkernel = "/root/kernel.elf"\n'
    host.run(["sh", "-c", "cat > /root/guest.cfg && xl create -p /root/guest.cfg"],
             deadline=Deadline.after(60, "xl create"), stdin=settings.encode())  # fmt: skip


def test_a_second_run_is_told_who_has_the_machine_and_can_wait(
    machine: LabMachine, host: SshHost
) -> None:
    lock = HostLock(host, OTHER, print)
    lock.acquire(0)
    code, output = run_on(machine)
    assert code != 0
    assert "1 error" in output
    assert f"{ALIAS} is in use by xenscrub-00aaaa of alice on desk3, since noon" in output
    threading.Timer(25, lock.release).start()
    code, output = run_on(machine, "--xen-lock-wait=120")
    assert code == 0, output
    assert f"{ALIAS}: waiting for xenscrub-00aaaa of alice on desk3" in output
    assert not lock.held
    assert sh(host, f"ls {PATH} 2> /dev/null; :") == ""


def test_the_machine_of_a_run_whose_connection_is_gone_is_taken_over(
    machine: LabMachine, host: SshHost
) -> None:
    dead = machine.connect()
    lost = HostLock(dead, OTHER, print)
    lost.acquire(0)
    dead.close()  # all that a dead process leaves: its end of the connection is gone
    sh(host, LEFT)
    create(host, "xenscrub-00dead-victim-1")
    code, output = run_on(machine, "--xen-lock-wait=20")
    assert code == 0, output
    assert "taken over from a run that is dead, xenscrub-00aaaa of alice" in output
    assert "destroyed a guest of a dead run, xenscrub-00dead-victim-1" in output
    assert "removed what a dead run left, /run/xenscrub-00dead" in output
    assert "removed what a dead run left, /var/log/xen/xl-xenscrub-00dead-victim-1.log" in output
    lost.release()  # nothing, but this end of its connection
    left = sh(host, f"xl list; ls /run /var/log/xen; ls {PATH} 2> /dev/null; :")
    assert not re.search(r"xenscrub-[0-9a-f]{6}", left), left


def test_guests_that_are_not_ours_are_left_alone(machine: LabMachine, host: SshHost) -> None:
    create(host, "web1")
    try:
        code, output = run_on(machine)
        assert code != 0
        assert f"{ALIAS} runs guests that are not ours: web1" in output
        assert "web1" in sh(host, "xl list")
        code, output = run_on(machine, "--xen-allow-busy")
        assert code == 0, output
        assert "web1" in sh(host, "xl list")
    finally:
        sh(host, "xl destroy web1")


def test_a_machine_stays_its_runs_through_a_reboot(machine: LabMachine, host: SshHost) -> None:
    """A reset ends the lock, and the run that did it gets the machine again before others."""
    lock = HostLock(host, OTHER, print)
    lock.acquire(0)
    before = running(host, Deadline.after(30, "which boot"))
    machine.power_cycle()
    host.disconnect()
    other = machine.connect()
    wait_for_boot(other, before.boot_id, Deadline.after(BOOT_SECONDS, "reset"))
    second = Holder("xenscrub-00bbbb", "bob", "desk4", "one", "another test")
    with pytest.raises(HostLockedError, match=r"alice.*rebooting the machine"):
        HostLock(other, second, print).acquire(0)
    lock.again()
    with pytest.raises(HostLockedError, match=r"alice on desk3, since noon: a test of hers\n"):
        HostLock(other, second, print).acquire(0)
    lock.release()
    third = HostLock(other, second, print)
    third.acquire(0)
    third.release()
    other.close()


def built() -> Artefact:
    cache = Cache()
    deadline = Deadline.after(570, "building Xen")
    try:
        source = resolve_source("debian", cache=cache, deadline=deadline)
        return Builder(source, cache=cache).build(load_variant("sync"), deadline=deadline)
    except MissingToolError as error:
        pytest.skip(str(error))


def test_the_boot_entry_of_a_dead_run_is_removed_and_the_own_xen_booted(
    machine: LabMachine, host: SshHost
) -> None:
    own = running(host, Deadline.after(30, "which Xen"))
    once = OneShotBoot(host, built(), tag="xenscrub-00dead")
    once.boot(Deadline.after(BOOT_SECONDS, "booting ours"))
    code, output = run_on(machine)
    assert code == 0, output
    assert "removing the boot entry of a dead run, xenscrub-00dead" in output
    assert running(host, Deadline.after(60, "which Xen")).build_id == own.build_id
    assert "xenscrub" not in sh(host, "ls /boot /boot/grub; cat /boot/grub/grubenv")


TESTS = """
import time
import pytest

@pytest.mark.parametrize("n", range(4))
def test_anywhere(xen_host, dom0, n):
    print("RAN anywhere", xen_host.name)
    time.sleep(3)
    assert dom0.free_bytes()

@pytest.mark.xen_host_tags("numa")
@pytest.mark.parametrize("n", range(2))
def test_numa(xen_host, dom0, n):
    assert xen_host.name == "two"

@pytest.mark.xen_host_tags("nowhere")
def test_nowhere(xen_host): pass
"""


def test_a_pool_of_two_machines_gives_each_worker_its_own(tmp_path: Path) -> None:
    with lab_machine() as one, lab_machine() as two:
        config = tmp_path / "ssh_config"
        texts = [
            lab.ssh_config.read_text().replace(f"Host {ALIAS}", f"Host {name}")
            for name, lab in (("first.lab", one), ("second.lab", two))
        ]
        config.write_text("".join(texts))
        hosts = tmp_path / "labs.toml"
        hosts.write_text(
            '[hosts.one]\naddress = "first.lab"\n'
            '[hosts.two]\naddress = "second.lab"\ntags = ["numa"]\n'
        )
        test = tmp_path / "test_pool.py"
        test.write_text(TESTS)
        pool = (str(test), "-rA", f"--xen-hosts-file={hosts}", f"--xen-ssh-config={config}")
        code, output = run(*pool, "-n", "2")
        assert code == 0, output
        assert "6 passed, 1 skipped" in output
        assert "RAN anywhere one" in output
        assert "RAN anywhere two" in output
        assert "has no nowhere" in output
        code, output = run(*pool, "-n", "3")
        assert code == pytest.ExitCode.USAGE_ERROR
        assert "3 workers, and 2 hosts for them: one, two" in output
        # Without workers: the host that suits most tests, or the next one while that is in use.
        host = two.connect()
        lock = HostLock(host, OTHER, print)
        lock.acquire(0)
        code, output = run(*pool)
        assert code == 0, output
        assert "4 passed, 3 skipped" in output
        assert "one has no numa" in output
        lock.release()
        host.close()
