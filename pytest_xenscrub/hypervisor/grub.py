# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine that boots through GRUB, and puts everything back.

The machine's own Xen stays what it boots by default: the new one is named in GRUB's one-shot
entry alone, which GRUB clears before it boots it. So any reset brings the machine's own back.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
    XenFaultError,
)
from pytest_xenscrub.hypervisor.grub_config import (
    Block,
    XenEntry,
    check_config,
    find_block,
    one_shot_entry,
    running_entry,
    xen_entries,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

_ATTEMPT_SECONDS = 15.0
"""One question to a machine that may be down or half up, s."""
_REBOOT_SECONDS = 30.0
"""The command `reboot` itself, s: it returns, or is cut off."""
_PAUSE_SECONDS = 0.5

# The kernel knows it before the toolstack runs, and where the toolstack is of another release.
_WHO_RUNS = r"""
cat /proc/sys/kernel/random/boot_id
note=/sys/hypervisor/properties/buildid
if [ -r $note ]; then od -An -v -tx1 $note | tr -d ' \n'
else xl info 2> /dev/null | sed -n 's/^build_id *: *//p'; fi
"""
_FOLDERS = "for d in /boot/grub /boot/grub2; do [ -f $d/grub.cfg ] && echo $d && exit; done; :"
_READ = 'if [ -e "$1" ]; then echo yes; cat "$1"; else echo no; fi'
# Owner and mode stay, and nobody ever sees half a file.
_WRITE = (
    'new=$1.xenscrub; if [ -e "$1" ]; then cp -p "$1" "$new"; fi && '
    'cat > "$new" && mv -f "$new" "$1" || { rm -f "$new"; exit 1; }'
)
_EDITENV = 'for t in grub-editenv grub2-editenv; do command -v $t > /dev/null && exec $t "$@"; done'
_SET = (
    'for t in grub-reboot grub2-reboot; do command -v $t > /dev/null && exec $t "$2"; done; '
    "for t in grub-editenv grub2-editenv; do "
    'command -v $t > /dev/null && exec $t "$1" set "next_entry=$2"; done; exit 127'
)
_WITH_PATH = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; "
# GRUB cannot write to these, so it could not clear an entry that it was to boot once.
_NOT_WRITTEN = {"btrfs", "zfs", "squashfs", "overlay", "tmpfs", "nfs", "nfs4"}
_NOT_WRITTEN_DEVICES = re.compile(r"/dev/(mapper/|dm-|md)")

_END = re.compile(r"Panic on CPU|Kernel panic|GRUB cannot load|^error: ")


class Bootable(Protocol):
    """What is needed of a hypervisor that was built; `build.Artefact` is one."""

    @property
    def gz(self) -> Path:
        """The file for a boot folder."""

    @property
    def build_id(self) -> str:
        """The note in it, as `xl info` shows it."""


@runtime_checkable
class _Reconnects(Protocol):
    """A host that keeps a connection, which a reboot leaves hanging."""

    def disconnect(self) -> None:
        """Let go of it; the next command makes a new one."""


@dataclass(frozen=True)
class Running:
    """Which boot of which Xen answered.

    Attributes:
        boot_id: new with each boot of dom0.
        build_id: of the hypervisor; empty where none says one.
    """

    boot_id: str
    build_id: str


@dataclass(frozen=True)
class _Grub:
    """Where the machine's GRUB has its files."""

    folder: str

    @property
    def config(self) -> str:
        return f"{self.folder}/grub.cfg"

    @property
    def custom(self) -> str:
        return f"{self.folder}/custom.cfg"

    @property
    def environment(self) -> str:
        return f"{self.folder}/grubenv"


def running(host: Host, deadline: Deadline) -> Running:
    """Which boot of which Xen a host is in.

    Raises:
        InfrastructureError: it cannot be reached.
    """
    result = host.run(["sh", "-c", _WITH_PATH + _WHO_RUNS], deadline=deadline)
    boot_id, _, build_id = result.stdout.strip().partition("\n")
    return Running(boot_id.strip(), build_id.strip())


def wait_for_boot(host: Host, since: str | None, deadline: Deadline) -> Running:
    """Wait until a host answers in another boot than the one it was in.

    Args:
        host: the machine; what it raises while it is down is no error.
        since: the boot id it had; None to wait for any.
        deadline: when it has failed.

    Raises:
        DeadlineExceededError: it did not come back.
        HostUnusableError: it was given up before.
    """
    last = ""
    while not deadline.passed:
        try:
            now = running(host, deadline.within(_ATTEMPT_SECONDS, "asking which Xen runs"))
        except HostUnusableError:
            raise
        except (InfrastructureError, DeadlineExceededError) as error:
            last = str(error)
            if isinstance(host, _Reconnects):
                host.disconnect()
        else:
            if now.boot_id != since:
                return now
            last = "it answers, but has not rebooted yet"
        time.sleep(min(_PAUSE_SECONDS, deadline.remaining))
    raise DeadlineExceededError(
        f"{deadline.step}: {host.name} did not come back within {deadline.seconds:.0f} s",
        todo="reset the machine: its own Xen boots again",
        evidence={"last answer": last, "serial log": host.serial_tail()},
    )


class OneShotBoot:
    """A hypervisor on its way to a machine, and back.

    Args:
        host: the machine, whose dom0 is reached as root.
        hypervisor: what was built.
        xen_cmdline: options for Xen, appended to those that the machine's own is booted with.
        tag: marks what is put on the machine, so that only that is removed; letters, digits,
            `.`, `_` and `-`.

    Raises:
        ConfigurationError: the tag has other characters.
    """

    def __init__(
        self, host: Host, hypervisor: Bootable, *, xen_cmdline: str = "", tag: str
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", tag):
            raise ConfigurationError(f"{tag!r} cannot be part of a file's name")
        self._host = host
        self._hypervisor = hypervisor
        self._xen_cmdline = xen_cmdline
        self._tag = tag
        self._original = ""

    @property
    def identifier(self) -> str:
        """Name of our menu entry."""
        return f"pytest-xenscrub-{self._tag}"

    @property
    def file_name(self) -> str:
        """Our hypervisor's in the boot folder: none that update-grub would take for a Xen."""
        return f"{self.identifier}.gz"

    def boot(self, deadline: Deadline) -> Running:
        """Boot the hypervisor once, and see that it is the one that runs.

        The machine's own configuration stays the default throughout. Whatever fails, `restore`
        removes what was put there. When it returns, dom0's services may still be starting.

        Returns:
            The boot it is in.

        Raises:
            ConfigurationError: the machine's GRUB is not set up for it; nothing was changed.
            XenFaultError: the hypervisor did not come up and the machine's own is back; both
                build ids are in the message.
            DeadlineExceededError: the machine did not come back.
            InfrastructureError: the machine cannot be reached, or runs a third Xen.
        """
        before = running(self._host, deadline)
        if not before.build_id:
            raise InfrastructureError(
                f"{self._host.name} does not say which Xen it runs",
                tried="/sys/hypervisor/properties/buildid, xl info",
                todo="boot the machine into its own Xen, 4.7 or later, as root",
            )
        grub = self._find_grub(deadline)
        config = self._read(grub.config, deadline) or ""
        check_config(config, grub.config)
        variables = self._variables(grub, deadline)
        entry = self._entry(config, deadline)
        folder = self._boot_folder(entry, deadline)
        custom = self._read(grub.custom, deadline)
        text = one_shot_entry(
            entry,
            identifier=self.identifier,
            file_name=self.file_name,
            xen_options=self._xen_cmdline,
        )
        block, rest = self._block(custom, before, variables)
        self._original = block.original
        self._host.put(self._hypervisor.gz, f"{folder}/{self.file_name}", deadline=deadline)
        self._sh(_WRITE, grub.custom, deadline=deadline, stdin=block.added_to(rest, text).encode())
        self._arm(grub, deadline)
        return self._check(grub, self._reboot(before, deadline), deadline)

    def restore(self, deadline: Deadline) -> Running:
        """Remove what was put on the machine, and boot its own Xen if that does not run.

        Safe to call at any time, again too; waits for a machine that is still booting.

        Returns:
            The boot it is in.

        Raises:
            DeadlineExceededError: the machine does not answer, or did not come back.
            InfrastructureError: it came back with another Xen than its own.
        """
        now = wait_for_boot(self._host, None, deadline)
        grub = self._find_grub(deadline)
        custom = self._read(grub.custom, deadline)
        found = find_block(custom or "", self._tag)
        if found is not None:
            self._original = found[0].original
        # Before the reboot, or that might boot ours again.
        self._disarm(grub, found[0] if found else None, deadline)
        if self._is_ours(now):
            now = self._reboot(now, deadline)
        # After it: the lines hold what a second try would need, should the reboot fail.
        for folder in self._places(self._read(grub.config, deadline) or ""):
            self._sh('rm -f "$1"', f"{folder}/{self.file_name}", deadline=deadline)
        if found is not None:
            block, rest = found
            if block.created and not rest:
                self._sh('rm -f "$1"', grub.custom, deadline=deadline)
            else:
                self._sh(_WRITE, grub.custom, deadline=deadline, stdin=rest.encode())
        self._disarm(grub, found[0] if found else None, deadline)
        self._sh("sync", deadline=deadline)
        if self._original and now.build_id != self._original:
            raise InfrastructureError(
                f"{self._host.name} did not go back to its own Xen: it runs "
                f"{now.build_id or 'none that says its build id'}, and it ran {self._original}",
                todo="see which entry its GRUB boots by default",
            )
        return now

    def _is_ours(self, now: Running) -> bool:
        if self._original and self._original != self._hypervisor.build_id:
            return now.build_id != self._original
        return now.build_id == self._hypervisor.build_id

    def _sh(
        self,
        script: str,
        *arguments: str,
        deadline: Deadline,
        stdin: bytes | None = None,
    ) -> str:
        """Run a shell script in dom0, with the folders of an administrator's programs."""
        argv = ["sh", "-c", _WITH_PATH + script, "sh", *arguments]
        return self._host.run(argv, deadline=deadline, stdin=stdin).stdout

    def _read(self, path: str, deadline: Deadline) -> str | None:
        """Text of a file; None where there is none."""
        exists, _, text = self._sh(_READ, path, deadline=deadline).partition("\n")
        return text if exists == "yes" else None

    def _find_grub(self, deadline: Deadline) -> _Grub:
        folder = self._sh(_FOLDERS, deadline=deadline).strip()
        if not folder:
            raise ConfigurationError(
                f"{self._host.name} has no GRUB configuration",
                tried="/boot/grub/grub.cfg, /boot/grub2/grub.cfg",
                todo="a hypervisor can only be booted once where GRUB boots the machine",
            )
        return _Grub(folder)

    def _variables(self, grub: _Grub, deadline: Deadline) -> dict[str, str]:
        """GRUB's environment, checked to be one that GRUB can write to.

        Raises:
            ConfigurationError: it is not, or another's one-shot entry is set.
        """
        if self._read(grub.environment, deadline) is None:
            raise ConfigurationError(
                f"{self._host.name} has no GRUB environment, where a one-shot entry is noted",
                tried=grub.environment,
                todo=f"grub-editenv {grub.environment} create",
            )
        place = self._sh('df -PT "$1" | tail -n 1', grub.environment, deadline=deadline).split()
        device, kind = (*place, "", "")[:2]
        if kind in _NOT_WRITTEN or _NOT_WRITTEN_DEVICES.match(device):
            raise ConfigurationError(
                f"GRUB cannot write to {grub.environment} ({kind} on {device}), so an entry that "
                "is to boot once would boot for ever",
                todo="put /boot on a plain partition with ext4",
            )
        variables = self._environment(grub, deadline)
        if variables.get("next_entry") not in (None, "", self.identifier):
            raise ConfigurationError(
                f"{self._host.name} is to boot {variables['next_entry']!r} once: not our doing",
                todo="reboot the machine, or, if nobody needs it, "
                f"grub-editenv {grub.environment} unset next_entry",
            )
        return variables

    def _environment(self, grub: _Grub, deadline: Deadline) -> dict[str, str]:
        listing = self._sh(
            f"{_EDITENV}; echo 'install grub-common: no grub-editenv' >&2; exit 127",
            grub.environment,
            "list",
            deadline=deadline,
        )
        pairs = (line.partition("=") for line in listing.splitlines())
        return {name: value for name, sign, value in pairs if sign}

    def _entry(self, config: str, deadline: Deadline) -> XenEntry:
        script = (
            "uname -r; cat /proc/cmdline; xl info 2> /dev/null | "
            "sed -n 's/^xen_commandline *: *//p'"
        )
        release, dom0_options, *xen = self._sh(script, deadline=deadline).splitlines()
        return running_entry(
            xen_entries(config),
            release=release.strip(),
            dom0_options=dom0_options,
            xen_options=" ".join(xen),
        )

    def _boot_folder(self, entry: XenEntry, deadline: Deadline) -> str:
        """The folder, as dom0 names it, of the hypervisor that `entry` boots."""
        for folder in _folders_of(entry):
            name = entry.files_path.rpartition("/")[2]
            if self._read_exists(f"{folder}/{name}", deadline):
                return folder
        raise InfrastructureError(
            f"{self._host.name}: the folder of the machine's own hypervisor was not found",
            tried=", ".join(_folders_of(entry)),
            todo="mount the boot partition at /boot",
        )

    def _read_exists(self, path: str, deadline: Deadline) -> bool:
        return self._sh('[ -e "$1" ] && echo yes || :', path, deadline=deadline).strip() == "yes"

    def _places(self, config: str) -> list[str]:
        """Folders in which our file may be."""
        return sorted({folder for entry in xen_entries(config) for folder in _folders_of(entry)})

    def _block(
        self, custom: str | None, before: Running, variables: dict[str, str]
    ) -> tuple[Block, str]:
        """What our lines say, and `custom.cfg` without them.

        Lines of a boot that was not undone know the machine as it was; it is not now.
        """
        found = find_block(custom or "", self._tag)
        if found is not None:
            return found
        block = Block(
            self._tag,
            before.build_id,
            created=custom is None,
            newline=bool(custom) and not (custom or "").endswith("\n"),
            had_variable="next_entry" in variables,
        )
        return block, custom or ""

    def _arm(self, grub: _Grub, deadline: Deadline) -> None:
        """Set the one-shot entry, last of all, and see that it is set."""
        self._sh(_SET, grub.environment, self.identifier, deadline=deadline)
        found = self._environment(grub, deadline).get("next_entry")
        if found != self.identifier:
            raise InfrastructureError(
                f"{self._host.name}: the one-shot entry was set, but is {found!r}",
                tried=f"next_entry={self.identifier} in {grub.environment}",
            )

    def _disarm(self, grub: _Grub, block: Block | None, deadline: Deadline) -> None:
        """Clear the one-shot entry if it is ours, and leave the variable as it was found."""
        if self._read(grub.environment, deadline) is None:
            return
        value = self._environment(grub, deadline).get("next_entry")
        had = block is not None and block.had_variable
        if value == self.identifier and had:
            change = ("set", "next_entry=")
        elif value == self.identifier or (value == "" and block is not None and not had):
            change = ("unset", "next_entry")
        else:
            return
        self._sh(_EDITENV, grub.environment, *change, deadline=deadline)

    def _reboot(self, before: Running, deadline: Deadline) -> Running:
        """Reboot the machine and wait until it is back."""
        argv = ["sh", "-c", _WITH_PATH + "sync; reboot"]
        try:
            answer = deadline.within(_REBOOT_SECONDS, "reboot")
            result = self._host.run(argv, deadline=answer, check=False)
        except HostUnusableError:
            raise
        except (InfrastructureError, DeadlineExceededError):
            pass  # the machine may be quicker than its answer
        else:
            if result.returncode not in (0, 255):
                raise InfrastructureError(
                    f"{self._host.name} does not reboot",
                    tried="reboot",
                    evidence={"reboot": result.stdout + result.stderr},
                )
        if isinstance(self._host, _Reconnects):
            self._host.disconnect()
        return wait_for_boot(self._host, before.boot_id, deadline)

    def _check(self, grub: _Grub, now: Running, deadline: Deadline) -> Running:
        """Compare what runs with what was to run."""
        wanted = self._hypervisor.build_id
        if now.build_id == wanted:
            return now
        has = f"build id {now.build_id}" if now.build_id else "no Xen that says its build id"
        what = f"{self._host.name} runs {has}, not {wanted}, which was built and booted"
        evidence = {"serial log": last_words(self._host.serial_tail(2000), self.file_name)}
        if self._environment(grub, deadline).get("next_entry") == self.identifier:
            raise InfrastructureError(
                f"{what}: GRUB did not use its one-shot entry",
                todo=f"see whether GRUB reads {grub.environment} and {grub.config} at all",
                evidence=evidence,
            )
        if now.build_id == self._original:
            raise XenFaultError(
                f"{what}: it did not come up, and the machine went back to its own Xen",
                todo="see the machine's serial log, with Xen's option sync_console",
                evidence=evidence,
            )
        raise InfrastructureError(what, evidence=evidence)


def last_words(serial: str, file_name: str) -> str:
    """What a hypervisor said before it went down, out of a log that goes on with another boot.

    Args:
        serial: the log's end.
        file_name: what GRUB said it loads; where GRUB has no serial console, all is looked at.

    Returns:
        The lines around the first that tells of an end, or the last ones where none does.
    """
    lines = serial.rpartition(file_name)[2].splitlines()
    end = next((at for at, line in enumerate(lines) if _END.search(line)), None)
    return "\n".join(lines[-40:] if end is None else lines[max(0, end - 20) : end + 8])


def _folders_of(entry: XenEntry) -> list[str]:
    """Where dom0 may see the folder that GRUB names: on the root file system, or its own."""
    folder = entry.files_path.rpartition("/")[0]
    return [folder] if folder.startswith("/boot") else [f"/boot{folder}", folder or "/"]
