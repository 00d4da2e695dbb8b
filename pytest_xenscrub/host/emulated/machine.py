# SPDX-License-Identifier: MIT
"""One QEMU that runs Xen: started, watched, saved, ended."""

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
    """A QEMU process and what belongs to it: RAM, overlay of the disk, folder, monitor.

    Args:
        image: dom0's image.
        spec: the machine wanted.
        qemu: the QEMU program.
        accel: accelerator and processor model.
        snapshot: folder of a saved machine to go on from; None to boot.
        deadline: for QEMU itself to start; booting takes longer and is `wait_banner`'s.

    Attributes:
        standing: when it stands still.
        ended: why we ended it, if we did.
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
            # A saved machine that cannot be read is for the caller, who boots anew.
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
        """QEMU's command line; another kind of machine changes it."""
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
        """Run a QMP command; if QEMU is gone, say that in place of the broken pipe."""
        if self._qmp is None:
            raise InfrastructureError("the emulated host has been closed")
        try:
            return self._qmp.execute(command, arguments, seconds=seconds)
        except InfrastructureError:
            self.check_alive()
            raise

    def starved_seconds(self) -> float:
        """How long its CPUs have waited so far for those of this machine, s."""
        if self.process is None:
            return 0.0
        return starved_seconds(self.process.pid, self._cpus) + stolen_seconds()

    def kept_seconds(self) -> float:
        """How long its CPUs have not run so far though they might have: starved, or stood still."""
        return self.starved_seconds() + self.standing.stood_seconds()

    @property
    def starved_since_boot(self) -> bool:
        """Whether it was kept from running for much of the time; one that was woken says no."""
        return self._watch is not None and self._watch.starved

    def memory(self) -> HostMemory:
        """The machine's RAM, and at which machine addresses it lies."""
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
        """Wait until anything is on the serial line.

        Raises:
            InfrastructureError: QEMU ended, or nothing was heard for so long.
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
        """Wait until dom0's sshd says its name.

        Args:
            deadline: when this machine was too slow.
            hang_seconds: for how long nothing may move before Xen hangs, s.

        Raises:
            InfrastructureError: QEMU ended, or the image's own Xen or its dom0 panicked.
            UndecidedError: QEMU ended before Xen said a word.
            XenFaultError: a Xen that was built, or its dom0, panicked, or reset the machine.
            XenHungError: Xen was started, and moves no more.
            DeadlineExceededError: nothing answered in time.
        """
        self._watch = watch = BootWatch(hang_seconds, self.kept_seconds, self._disk_bytes)
        patience = _BANNER_SECONDS
        while True:
            self._check_booting()
            watch.check(self._serial(), lambda: self.serial_tail(30))
            deadline.check(**{"serial log": self.serial_tail(30)})
            try:
                # QEMU accepts at once whatever dom0 does, so only the banner tells.
                with socket.create_connection(("127.0.0.1", self.port), patience) as link:
                    link.settimeout(patience)
                    if link.recv(4) == b"SSH-":
                        return
            except TimeoutError:
                # A dom0 on a busy machine is slow to say it, and each call that hangs up is one
                # more that it has to answer.
                patience = min(2 * patience, _MOST_BANNER_SECONDS)
            except OSError:
                pass
            time.sleep(0.05)

    def _check_booting(self) -> None:
        """Raise if the machine crashed, or has ended, while it boots: the error says whose fault.

        The image's own Xen is known to boot: where that crashes, it is QEMU or the image.
        """
        said = self._serial().decode(errors="replace")
        reached = stage(said, starved=self.starved_since_boot)
        evidence = {"serial log": self.serial_tail(40)}
        if reached is Stage.CRASHED:
            kind = XenFaultError if self._chosen else InfrastructureError
            raise kind("Xen or its dom0 crashed while it booted", evidence=evidence)
        # QEMU ends in order where the machine is reset (-no-reboot), and only there.
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
        """Raise `InfrastructureError` with what QEMU said, or why it was ended, if it has."""
        if self.ended is not None:
            raise self.ended
        if self.process is None or self.process.poll() is None:
            return
        raise InfrastructureError(
            f"QEMU has ended with return code {self.process.returncode}",
            evidence={"qemu": self.qemu_log(), "serial log": self.serial_tail()},
        )

    def qemu_log(self) -> str:
        """What QEMU itself printed."""
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
            # Nothing on its disk is worth an orderly end.
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
