# SPDX-License-Identifier: MIT
"""A machine's GRUB, as seen from dom0: the files that it reads, and its one-shot entry."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_xenscrub.boot.grub_config import XenEntry, running_entry, xen_entries
from pytest_xenscrub.boot.reboot import WITH_PATH
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

_FOLDERS = "for d in /boot/grub /boot/grub2; do [ -f $d/grub.cfg ] && echo $d && exit; done; :"
_READ = 'if [ -e "$1" ]; then echo yes; cat "$1"; else echo no; fi'
# Keeps owner and mode, and replaces the file at once, so that it is never half-written.
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
_RUNNING = "uname -r; cat /proc/cmdline; xl info 2> /dev/null | sed -n 's/^xen_commandline *: *//p'"
# GRUB cannot write to these, so it could not clear a one-shot entry.
_NOT_WRITTEN = {"btrfs", "zfs", "squashfs", "overlay", "tmpfs", "nfs", "nfs4"}
_NOT_WRITTEN_DEVICES = re.compile(r"/dev/(mapper/|dm-|md)")


class Grub:
    """The GRUB of a machine.

    Args:
        host: the machine; its dom0 is reached as root.
        deadline: limit for everything.

    Attributes:
        config: path of its configuration, which is never written.
        custom: path of the file for additional entries, which need not exist.
        environment: path of its variables.

    Raises:
        ConfigurationError: the machine does not boot through GRUB.
    """

    def __init__(self, host: Host, deadline: Deadline) -> None:
        self._host = host
        self._deadline = deadline
        folder = self._sh(_FOLDERS).strip()
        if not folder:
            raise ConfigurationError(
                f"{host.name} has no GRUB configuration",
                tried="/boot/grub/grub.cfg, /boot/grub2/grub.cfg",
                todo="a hypervisor can only be booted once where GRUB boots the machine",
            )
        self.config = f"{folder}/grub.cfg"
        self.custom = f"{folder}/custom.cfg"
        self.environment = f"{folder}/grubenv"

    def _sh(self, script: str, *arguments: str, stdin: bytes | None = None) -> str:
        """Run a shell script in dom0, with system folders in PATH."""
        argv = ["sh", "-c", WITH_PATH + script, "sh", *arguments]
        return self._host.run(argv, deadline=self._deadline, stdin=stdin).stdout

    @cached_property
    def text(self) -> str:
        """GRUB's configuration; empty if it was not found."""
        return self.read(self.config) or ""

    # -- files --------------------------------------------------------------------------------

    def read(self, path: str) -> str | None:
        """Text of a file; None without the file."""
        exists, _, text = self._sh(_READ, path).partition("\n")
        return text if exists == "yes" else None

    def write(self, path: str, text: str) -> None:
        """Write a file atomically."""
        self._sh(_WRITE, path, stdin=text.encode())

    def remove(self, path: str) -> None:
        """Remove a file if it exists."""
        self._sh('rm -f "$1"', path)

    def sync(self) -> None:
        """Flush the machine's disks."""
        self._sh("sync")

    # -- what it boots ------------------------------------------------------------------------

    def running_entry(self) -> XenEntry:
        """The entry that the machine was booted with.

        Raises:
            InfrastructureError: no entry has the kernel that runs.
        """
        release, dom0_options, *xen = self._sh(_RUNNING).splitlines()
        return running_entry(
            xen_entries(self.text),
            release=release.strip(),
            dom0_options=dom0_options,
            xen_options=" ".join(xen),
        )

    def folder_of(self, entry: XenEntry) -> str:
        """The folder in dom0 of the hypervisor that `entry` boots.

        Raises:
            InfrastructureError: the folder does not exist.
        """
        name = entry.files_path.rpartition("/")[2]
        for folder in _folders_of(entry):
            exists = self._sh('[ -e "$1" ] && echo yes || :', f"{folder}/{name}").strip()
            if exists == "yes":
                return folder
        raise InfrastructureError(
            f"{self._host.name}: the folder of the machine's own hypervisor was not found",
            tried=", ".join(_folders_of(entry)),
            todo="mount the boot partition at /boot",
        )

    def folders(self) -> list[str]:
        """Folders in dom0 that may have a hypervisor."""
        entries = xen_entries(self.text)
        return sorted({folder for entry in entries for folder in _folders_of(entry)})

    # -- what it boots once -------------------------------------------------------------------

    def variables(self) -> dict[str, str]:
        """GRUB's environment."""
        listing = self._sh(
            f"{_EDITENV}; echo 'install grub-common: no grub-editenv' >&2; exit 127",
            self.environment,
            "list",
        )
        pairs = (line.partition("=") for line in listing.splitlines())
        return {name: value for name, sign, value in pairs if sign}

    def check_free(self, identifier: str) -> dict[str, str]:
        """Check that GRUB can boot an entry exactly once, and that no other one-shot entry is set.

        Returns:
            GRUB's environment.

        Raises:
            ConfigurationError: GRUB cannot write to its environment, or another's entry is set.
        """
        if self.read(self.environment) is None:
            raise ConfigurationError(
                f"{self._host.name} has no GRUB environment, where a one-shot entry is noted",
                tried=self.environment,
                todo=f"grub-editenv {self.environment} create",
            )
        place = self._sh('df -PT "$1" | tail -n 1', self.environment).split()
        device, kind = (*place, "", "")[:2]
        if kind in _NOT_WRITTEN or _NOT_WRITTEN_DEVICES.match(device):
            raise ConfigurationError(
                f"GRUB cannot write to {self.environment} ({kind} on {device}), so an entry that "
                "is to boot once would boot for ever",
                todo="put /boot on a plain partition with ext4",
            )
        variables = self.variables()
        if variables.get("next_entry") not in (None, "", identifier):
            raise ConfigurationError(
                f"{self._host.name}: {variables['next_entry']!r} is to boot once, set by another",
                todo="reboot the machine, or, if it is not needed, "
                f"grub-editenv {self.environment} unset next_entry",
            )
        return variables

    def arm(self, identifier: str) -> None:
        """Set the one-shot entry, and check that GRUB has it.

        Raises:
            InfrastructureError: GRUB does not have it.
        """
        self._sh(_SET, self.environment, identifier)
        found = self.variables().get("next_entry")
        if found != identifier:
            raise InfrastructureError(
                f"{self._host.name}: the one-shot entry was set, but is {found!r}",
                tried=f"next_entry={identifier} in {self.environment}",
            )

    def disarm(self, identifier: str, *, had_variable: bool | None) -> None:
        """Clear the one-shot entry if it is this one, and restore the variable.

        Args:
            identifier: the entry's identifier.
            had_variable: whether the variable existed, empty, before; None if unknown.
        """
        if self.read(self.environment) is None:
            return
        value = self.variables().get("next_entry")
        if value == identifier and had_variable:
            change = ("set", "next_entry=")
        elif value == identifier or (value == "" and had_variable is False):
            change = ("unset", "next_entry")
        else:
            return
        self._sh(_EDITENV, self.environment, *change)


def _folders_of(entry: XenEntry) -> list[str]:
    """Folders in dom0 that may be the one that GRUB names: on the root or the boot file system."""
    folder = entry.files_path.rpartition("/")[0]
    return [folder] if folder.startswith("/boot") else [f"/boot{folder}", folder or "/"]
