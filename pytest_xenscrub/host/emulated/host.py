# SPDX-License-Identifier: MIT
"""The emulated host: a machine in QEMU, driven over ssh like any other host."""

from __future__ import annotations

import atexit
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.cache_folder import CacheUnusableError
from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.errors import InfrastructureError, XenScrubError
from pytest_xenscrub.host.emulated import saving
from pytest_xenscrub.host.emulated.accel import (
    KVM,
    KVM_SILENT_SECONDS,
    Accel,
    choose_accel,
    qemu_path,
    qemu_version,
    start_or_fall_back,
)
from pytest_xenscrub.host.emulated.build_once import locked
from pytest_xenscrub.host.emulated.image import Image, ensure_image
from pytest_xenscrub.host.emulated.machine import Machine
from pytest_xenscrub.host.emulated.outside import EmulatedOutside
from pytest_xenscrub.host.emulated.snapshot import SnapshotStore, snapshot_key
from pytest_xenscrub.host.emulated.ssh_config import write_ssh_config
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.symbols import Symbols
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.host.emulated.spec import MachineSpec
    from pytest_xenscrub.host.protocol import CommandResult
    from pytest_xenscrub.telling import Say

_ALIAS = "xenscrub-emulated"
_READY = "until [ -e /run/xenscrub-ready ]; do sleep 0.1; done"
# Runs the first commands of a test once, so that the saved machine has them in its page cache.
_IDLE = """
until [ -e /run/xenscrub-complete ]; do sleep 0.2; done
xl info > /dev/null; xl list > /dev/null
virsh -c xen:///system list > /dev/null 2>&1; virsh -c xen:///system nodeinfo > /dev/null 2>&1
python3 -c 'import json, os, select, subprocess'
while xl debug-keys H && xl dmesg | tail -n 3 | grep -q unscrubbed; do sleep 0.5; done
sync
"""
_WARM_SECONDS = 30.0
_SYMBOLS_SECONDS = 30.0
_LISTING = "/proc/xen/xensyms"


def prepare_image(spec: MachineSpec, say: Say, deadline: Deadline) -> None:
    """Build dom0's image unless the cache has it; a build takes a minute, a boot ten seconds."""
    ensure_image(spec.suite, say=say, deadline=deadline, device_model=spec.device_model)


class EmulatedHost:
    """A machine that QEMU emulates; implements `Host`. Created by `start`.

    Attributes:
        boot_seconds: time from the start of QEMU to the first answered command, s.
        started: "cold" if the machine booted, "warm" if it went on from a saved machine.
        image: dom0's image.
        outside: the view of the machine from outside.
    """

    def __init__(
        self,
        spec: MachineSpec,
        image: Image,
        say: Say,
        hang_seconds: float,
        accel: str = "auto",
    ) -> None:
        self._spec = spec
        self._hang_seconds = hang_seconds
        self.image = image
        self._say = say
        self._qemu = qemu_path()
        self._may_fall_back = accel == "auto"
        self._use(choose_accel(self._qemu, accel, say))
        self._store = SnapshotStore()
        self._machine: Machine | None = None
        self._ssh: SshHost | None = None
        self.outside = EmulatedOutside(lambda: self._machine, spec.symbols, self._listed_symbols)
        self.boot_seconds = 0.0
        # Fixtures close the host; this covers exits of Python that skip them.
        atexit.register(self.close)
        self.started = "cold"

    @classmethod
    def start(
        cls,
        spec: MachineSpec,
        *,
        say: Say,
        deadline: Deadline,
        hang_seconds: float = HANG_SECONDS,
        accel: str = "auto",
    ) -> EmulatedHost:
        """Start an emulated host: from a saved machine if there is one, else boot and save it.

        Args:
            spec: the machine wanted.
            say: gets a line for the user when something takes long.
            deadline: limit for everything, with a build of the image.
            hang_seconds: time without progress that counts as a hang of a booting Xen, s.
            accel: "kvm", "tcg", or "auto": KVM, or TCG if no Xen boots with KVM.

        Raises:
            MissingToolError: QEMU, or what builds the image, is not installed.
            InfrastructureError: the host could not be built or started.
            XenHungError: Xen was started, and hangs.
            DeadlineExceededError: the host did not come up in time.
        """
        image = ensure_image(spec.suite, say=say, deadline=deadline, device_model=spec.device_model)
        host = cls(spec, image, say, hang_seconds, accel)
        try:
            host._power_on(deadline)
        except BaseException:
            host.close()
            raise
        return host

    @property
    def name(self) -> str:
        """The host's name, as the user wrote it."""
        return "emulated"

    @property
    def kind(self) -> str:
        """The kind of host."""
        sparse = "" if self._spec.ram_limit is None else ", sparse RAM"
        return f"emulated ({self._accel.name}{sparse})"

    @property
    def starved_since_boot(self) -> bool:
        """Whether this machine kept it from running for much of the time since its boot began."""
        return self._machine is not None and self._machine.starved_since_boot

    @property
    def _running(self) -> Machine:
        if self._machine is None:
            raise InfrastructureError("the emulated host has been closed")
        return self._machine

    @property
    def _session(self) -> SshHost:
        self._running.check_alive()
        if self._ssh is None:
            raise InfrastructureError("the emulated host has been closed")
        return self._ssh

    def _use(self, accel: Accel) -> None:
        self._accel = accel
        self._key = snapshot_key(self.image, self._spec, accel, qemu_version(self._qemu))

    def _power_on(self, deadline: Deadline) -> None:
        if not self._may_fall_back:
            self._power_on_as_is(deadline)
            return
        start_or_fall_back(
            self._accel, self._power_on_with, path=self._qemu, say=self._say, deadline=deadline
        )
        self._may_fall_back = False

    def _power_on_with(self, accel: Accel, deadline: Deadline) -> None:
        if accel is not self._accel:
            self._use(accel)
        try:
            self._power_on_as_is(deadline)
        except XenScrubError:
            self._power_off()
            raise

    def _power_on_as_is(self, deadline: Deadline) -> None:
        if self._try_warm(deadline):
            return
        try:
            self._boot_and_save(deadline)
        except CacheUnusableError as error:
            self._say(f"the emulated host boots, and is not saved: {error.what}")
            self._launch(None, deadline)

    def _boot_and_save(self, deadline: Deadline) -> None:
        # One run boots and saves the machine; waiting for that is faster for others of the same
        # kind, too.
        with locked(self._store.lock_path(self._key), deadline, self._say):
            if self._try_warm(deadline):
                return
            self._say("booting the emulated host (once for this Xen and machine)")
            self._launch(None, deadline)
            self._save(deadline)

    def _try_warm(self, deadline: Deadline) -> bool:
        snapshot = self._store.find(self._key)
        if snapshot is None:
            return False
        try:
            self._launch(snapshot, deadline.within(_WARM_SECONDS, "warm start of the host"))
        except (XenScrubError, OSError, ValueError) as error:
            self._power_off()
            deadline.check()
            first = str(error).splitlines()[0]
            self._say(f"the saved host cannot be used, so it boots anew: {first}")
            self._store.drop(self._key)
            return False
        return True

    def _launch(self, snapshot: Path | None, deadline: Deadline) -> None:
        begin = time.monotonic()
        try:
            self._machine = Machine(
                self.image, self._spec, self._qemu, self._accel,
                snapshot=snapshot, deadline=deadline,
            )  # fmt: skip
            if snapshot is None and self._accel is KVM and self._may_fall_back:
                self._machine.wait_first_word(KVM_SILENT_SECONDS)
            self._machine.wait_banner(deadline, hang_seconds=self._hang_seconds)
            config = write_ssh_config(self._machine.folder, _ALIAS, self._machine.port, self.image)
            self._ssh = SshHost(
                Target(_ALIAS), config=config, serial=self._machine.serial_tail,
                name=self.name, kind=self.kind, patient=True,
            )  # fmt: skip
            # dom0's clock has not run since the machine was saved.
            clock = f"date -s @{time.time():.3f} > /dev/null; " if snapshot is not None else ""
            self._ssh.run(["sh", "-c", clock + _READY], deadline=deadline)
        except BaseException:
            self._power_off()
            raise
        self.boot_seconds = time.monotonic() - begin
        self.started = "cold" if snapshot is None else "warm"

    def _save(self, deadline: Deadline) -> None:
        """Save the machine that has just booted, while it is idle; a failure is not an error."""
        machine, ssh = self._running, self._session
        try:
            ssh.run(["sh", "-c", _IDLE], deadline=deadline.within(300, "idle host"))
            ssh.disconnect()
            time.sleep(0.5)
            self._store.make(
                self._key,
                lambda folder: saving.save(machine, folder, deadline.within(120, "saving it")),
            )
        except (XenScrubError, OSError) as error:
            machine.check_alive()
            first = str(error).splitlines()[0]
            self._say(f"the booted host could not be saved, so the next boots too: {first}")

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> CommandResult:
        """Run a command in dom0 to its end; see `SshHost.run`."""
        return self._session.run(argv, deadline=deadline, check=check, stdin=stdin)

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in dom0 whose stdin, stdout and stderr are pipes of this process."""
        return self._session.popen(argv)

    def ssh_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The local command line that runs `argv` in dom0."""
        return self._session.ssh_command(argv, tty=tty)

    def put(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Copy a file into dom0. Atomic: never seen half-written."""
        self._session.put(local, remote, deadline=deadline)

    def _listed_symbols(self) -> Symbols:
        """Xen's symbols, as dom0's kernel lists them."""
        deadline = Deadline.after(_SYMBOLS_SECONDS, "reading Xen's symbols in dom0")
        listed = self._session.run(["cat", _LISTING], deadline=deadline, check=False)
        return Symbols.from_listing(listed.stdout, f"dom0's {_LISTING}")

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log: Xen's and dom0's."""
        return "" if self._machine is None else self._machine.serial_tail(lines)

    def close(self) -> None:
        """Power the machine off, and remove all its files. Never raises, may be called twice."""
        atexit.unregister(self.close)
        self._power_off()

    def _power_off(self) -> None:
        machine, self._machine = self._machine, None
        ssh, self._ssh = self._ssh, None
        if machine is not None:
            machine.close()
        if ssh is not None:
            ssh.close()
