# SPDX-License-Identifier: MIT
"""One QEMU process that runs Xen: starts, watches, saves and ends it."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.deadline import HANG_SECONDS
from pytest_xenscrub.errors import InfrastructureError, UndecidedError, XenFaultError
from pytest_xenscrub.host import spawn
from pytest_xenscrub.host.boot_log import Stage, stage
from pytest_xenscrub.host.emulated import overlay, saving
from pytest_xenscrub.host.emulated.boot import BootWatch
from pytest_xenscrub.host.emulated.drain import Drain
from pytest_xenscrub.host.emulated.drainer import Drainer
from pytest_xenscrub.host.emulated.qmp import Qmp
from pytest_xenscrub.host.emulated.ram import Ram
from pytest_xenscrub.host.emulated.spec import RAM, MachineSpec, qemu_command
from pytest_xenscrub.host.emulated.standing import Standing
from pytest_xenscrub.host.emulated.starvation import starved_seconds, stolen_seconds
from pytest_xenscrub.host.memory import HostMemory, parse_map
from pytest_xenscrub.host.rundir import RunFolder
from pytest_xenscrub.system_errors import explained

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.emulated.accel import Accel
    from pytest_xenscrub.host.emulated.image import Image

_BANNER_SECONDS = 1.0
_MOST_BANNER_SECONDS = 16.0


class Machine:
    """A QEMU process and its parts: RAM, overlay of the disk, folder, monitor.

    Args:
        image: dom0's image.
        spec: the machine wanted.
        qemu: the QEMU program.
        accel: accelerator and CPU model.
        snapshot: folder of a saved machine to go on from; None to boot.
        deadline: limit for QEMU itself to start; `wait_banner` waits for the boot, which takes
            longer.

    Attributes:
        standing: stops the machine for a while.
        ended: why the tool ended the machine; None if it did not.
    """

    def __init__(
        self,
        image: Image,
        spec: MachineSpec,
        qemu: str,
        accel: Accel,
        *,
        snapshot: Path | None,
        deadline: Deadline,
    ) -> None:
        self.started = time.monotonic()
        self._chosen = spec.hypervisor is not None
        self._folder = RunFolder()
        self.folder = self._folder.path
        self.process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self.standing = Standing(self.qmp)
        self._watch: BootWatch | None = None
        self._drainer: Drainer | None = None
        self.ended: InfrastructureError | None = None
        self.ram: Ram | None = None
        try:
            overlay.need_room(self.folder)
            self.ram = Ram(spec.memory_bytes, sparse=spec.ram_limit is not None)
            if snapshot is not None:
                self.ram.load(snapshot)
            overlay.make_overlay(image, snapshot, self.folder)
            command = qemu_command(
                spec, image, qemu, accel,
                folder=self.folder, ram_fd=self.ram.fd, incoming=snapshot is not None,
            )  # fmt: skip
            with (self.folder / "qemu.log").open("wb") as log:
                self.process = spawn.spawn_tied(
                    self.adapted(command), stdout=log, stderr=log, pass_fds=(self.ram.fd,)
                )
            (self.folder / "qemu.pid").write_text(str(self.process.pid))
            self._qmp = self._connect(deadline)
            if snapshot is not None:
                saving.go_on(self, snapshot, deadline)
            self.port = self._ssh_port()
            self._cpus = [cpu["thread-id"] for cpu in self.qmp("query-cpus-fast")]
            if spec.ram_limit is not None:
                self._drainer = self._start_draining(spec.ram_limit)
            elif snapshot is not None:
                self.ram.populate()
        except BaseException as error:
            self.close()
            # If a saved machine cannot be read, the caller boots the machine instead.
            if isinstance(error, OSError) and snapshot is None:
                raise explained(error, "the emulated host cannot be started") from None
            raise

    def _start_draining(self, limit: int) -> Drainer:
        assert self.ram is not None  # noqa: S101 - for the type checker
        return Drainer(Drain(self.ram.fd, self.ram.size), limit, self.standing, self._end)

    def _end(self, why: InfrastructureError) -> None:
        self.ended = why
        if self.process is not None:
            self.process.kill()

    def adapted(self, command: list[str]) -> list[str]:
        """QEMU's command line; subclasses change it."""
        return command

    def _connect(self, deadline: Deadline) -> Qmp:
        path = self.folder / "qmp"
        while not path.exists():
            self.check_alive()
            deadline.check(qemu=self.qemu_log())
            time.sleep(0.02)
        try:
            return Qmp(path, deadline)
        except InfrastructureError:
            self.check_alive()
            raise

    def qmp(
        self, command: str, arguments: dict[str, Any] | None = None, *, seconds: float = 120
    ) -> Any:
        """Run a QMP command; if QEMU has ended, raise that error and not one of the broken pipe."""
        if self._qmp is None:
            raise InfrastructureError("the emulated host has been closed")
        try:
            return self._qmp.execute(command, arguments, seconds=seconds)
        except InfrastructureError:
            self.check_alive()
            raise

    def starved_seconds(self) -> float:
        """How long the machine's CPUs have waited for CPUs of this machine so far, s."""
        if self.process is None:
            return 0.0
        return starved_seconds(self.process.pid, self._cpus) + stolen_seconds()

    def kept_seconds(self) -> float:
        """How long the machine's CPUs were kept from running so far, starved or stopped, s."""
        return self.starved_seconds() + self.standing.stood_seconds()

    @property
    def starved_since_boot(self) -> bool:
        """Whether it was kept from running for much of the time; one that was woken says no."""
        return self._watch is not None and self._watch.starved

    def memory(self) -> HostMemory:
        """The machine's RAM, with the machine addresses of its parts."""
        if self.ram is None:
            raise InfrastructureError("the emulated host has been closed")
        told = self.qmp("human-monitor-command", {"command-line": "info mtree -f"})
        return HostMemory(
            self.ram.fd, self.ram.size, parse_map(told, RAM), self._page_tables,
            self.ram.sparse, self.standing.stood_seconds,
        )  # fmt: skip

    def _page_tables(self) -> list[int]:
        told = self.qmp("human-monitor-command", {"command-line": "info registers -a"})
        return [int(cr3, 16) for cr3 in re.findall(r"CR3=([0-9a-f]+)", told)]

    def _ssh_port(self) -> int:
        text = self.qmp("human-monitor-command", {"command-line": "info usernet"})
        match = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", text)
        if match is None:
            raise InfrastructureError("QEMU did not say which port it forwards", tried=text)
        return int(match.group(1))

    def _disk_bytes(self) -> int:
        stats = [device["stats"] for device in self.qmp("query-blockstats", seconds=10)]
        return sum(stat["rd_bytes"] + stat["wr_bytes"] for stat in stats)

    def wait_first_word(self, seconds: float) -> None:
        """Wait for the first output on the serial line.

        Raises:
            InfrastructureError: QEMU ended, or there was no output for that long.
        """
        end = time.monotonic() + seconds
        while not self._serial():
            self.check_alive()
            if time.monotonic() > end:
                raise InfrastructureError(
                    f"nothing on the serial line {seconds:.0f} s after QEMU was started",
                    evidence={"qemu": self.qemu_log()},
                )
            time.sleep(0.05)

    def wait_banner(self, deadline: Deadline, *, hang_seconds: float = HANG_SECONDS) -> None:
        """Wait until dom0's sshd sends its banner.

        Args:
            deadline: limit; a later banner is this machine's fault.
            hang_seconds: time without progress that counts as a hang of Xen, s.

        Raises:
            InfrastructureError: QEMU ended, or the image's own Xen or its dom0 panicked.
            UndecidedError: QEMU ended before Xen printed anything.
            XenFaultError: a built Xen, or its dom0, panicked, or reset the machine.
            XenHungError: Xen was started, and there is no progress.
            DeadlineExceededError: sshd did not answer in time.
        """
        self._watch = watch = BootWatch(hang_seconds, self.kept_seconds, self._disk_bytes)
        patience = _BANNER_SECONDS
        while True:
            self._check_booting()
            watch.check(self._serial(), lambda: self.serial_tail(30))
            deadline.check(**{"serial log": self.serial_tail(30)})
            try:
                # QEMU accepts connections even while dom0 is down, so only the banner shows that
                # sshd runs.
                with socket.create_connection(("127.0.0.1", self.port), patience) as link:
                    link.settimeout(patience)
                    if link.recv(4) == b"SSH-":
                        return
            except TimeoutError:
                # sshd is slow on a busy machine, and has to handle each connection that was given
                # up, so wait longer each time.
                patience = min(2 * patience, _MOST_BANNER_SECONDS)
            except OSError:
                pass
            time.sleep(0.05)

    def _check_booting(self) -> None:
        """Raise if the machine crashed or ended while it boots; the error says whose fault it was.

        The image's own Xen is known to boot, so QEMU or the image is to blame for its crash.
        """
        said = self._serial().decode(errors="replace")
        reached = stage(said, starved=self.starved_since_boot)
        evidence = {"serial log": self.serial_tail(40)}
        if reached is Stage.CRASHED:
            kind = XenFaultError if self._chosen else InfrastructureError
            raise kind("Xen or its dom0 crashed while it booted", evidence=evidence)
        # QEMU exits with status 0 only if the machine is reset (-no-reboot).
        if self._chosen and self.process is not None and self.process.poll() == 0:
            if reached is Stage.SILENT:
                raise UndecidedError(
                    "the emulated machine was reset before Xen said a word",
                    todo="does --xen-variant=stock boot? Then this Xen resets the machine",
                    evidence={"qemu": self.qemu_log(), **evidence},
                )
            raise XenFaultError(
                "Xen or its dom0 reset the machine while it booted", evidence=evidence
            )
        self.check_alive()

    def check_alive(self) -> None:
        """Raise `InfrastructureError` if QEMU has ended, with its output or the reason."""
        if self.ended is not None:
            raise self.ended
        if self.process is None or self.process.poll() is None:
            return
        raise InfrastructureError(
            f"QEMU has ended with return code {self.process.returncode}",
            evidence={"qemu": self.qemu_log(), "serial log": self.serial_tail()},
        )

    def qemu_log(self) -> str:
        """QEMU's own output."""
        path = self.folder / "qemu.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def _serial(self) -> bytes:
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log: Xen's and dom0's."""
        text = self._serial().decode(errors="replace")
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def close(self) -> None:
        """Kill QEMU and remove its folder. Never raises, may be called twice."""
        if self.process is not None:
            # Killed, because nothing on its disk is worth an orderly shutdown.
            self.process.kill()
            self.process.wait()
        if self._drainer is not None:
            self._drainer.close()
        if self._qmp is not None:
            qmp, self._qmp = self._qmp, None
            qmp.close()
        if self.ram is not None:
            self.ram.close()
        self._folder.close()
