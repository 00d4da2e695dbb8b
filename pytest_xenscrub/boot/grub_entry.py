# SPDX-License-Identifier: MIT
"""A hypervisor of ours in a machine's boot folder, and GRUB's entry for it: added, and removed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.boot.grub_config import Block, check_config, find_block, one_shot_entry
from pytest_xenscrub.boot.grub_dom0 import Grub
from pytest_xenscrub.boot.reboot import Running, reboot, wait_for_boot
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host


class BootEntry:
    """A hypervisor in a machine's boot folder, and the entry that boots it.

    Args:
        host: the machine, whose dom0 is reached as root.
        tag: marks what is put on the machine, so that only that is removed; letters, digits,
            `.`, `_` and `-`.
        build_id: the hypervisor's; empty if nobody knows: what tells whether the machine runs it
            is then that its own does not run.

    Attributes:
        identifier: the entry's name in GRUB's menu.
        file_name: the hypervisor's in the boot folder: none that update-grub would take for a Xen.
        original: build id of the machine's own hypervisor; empty until it is known.

    Raises:
        ConfigurationError: the tag has other characters.
    """

    def __init__(self, host: Host, tag: str, *, build_id: str = "") -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", tag):
            raise ConfigurationError(f"{tag!r} cannot be part of a file's name")
        self._host = host
        self._tag = tag
        self._build_id = build_id
        self.identifier = f"pytest-xenscrub-{tag}"
        self.file_name = f"{self.identifier}.gz"
        self.original = ""

    def add(
        self, grub: Grub, gz: Path, before: Running, *, xen_options: str, deadline: Deadline
    ) -> None:
        """Put it on the machine; nothing boots it yet.

        Args:
            grub: the machine's.
            gz: the hypervisor.
            before: what the machine runs.
            xen_options: appended to those that the machine's own is booted with.
            deadline: when it has failed.

        Raises:
            ConfigurationError: the machine's GRUB is not set up for it; nothing was changed.
            InfrastructureError: the machine's own entry or hypervisor was not found.
        """
        check_config(grub.text, grub.config)
        variables = grub.check_free(self.identifier)
        entry = grub.running_entry()
        folder = grub.folder_of(entry)
        custom = grub.read(grub.custom)
        text = one_shot_entry(
            entry, identifier=self.identifier, file_name=self.file_name, xen_options=xen_options
        )
        # Lines of a boot that was not undone know the machine as it was; it is not now.
        block, rest = find_block(custom or "", self._tag) or (
            Block(
                self._tag,
                before.build_id,
                created=custom is None,
                newline=bool(custom) and not (custom or "").endswith("\n"),
                had_variable="next_entry" in variables,
            ),
            custom or "",
        )
        self.original = block.original
        self._host.put(gz, f"{folder}/{self.file_name}", deadline=deadline)
        grub.write(grub.custom, block.added_to(rest, text))

    def remove(self, deadline: Deadline) -> Running:
        """Remove it from the machine, and boot the machine's own Xen if that does not run.

        Safe to call at any time, again too; waits for a machine that is still booting.

        Returns:
            The boot it is in.

        Raises:
            DeadlineExceededError: the machine does not answer, or did not come back.
            InfrastructureError: it came back with another Xen than its own.
        """
        now = wait_for_boot(self._host, None, deadline)
        grub = Grub(self._host, deadline)
        found = find_block(grub.read(grub.custom) or "", self._tag)
        had_variable = None
        if found is not None:
            self.original = found[0].original
            had_variable = found[0].had_variable
        # Before the reboot, or that might boot ours again.
        grub.disarm(self.identifier, had_variable=had_variable)
        if self._runs(now):
            now = reboot(self._host, now, deadline)
        # After it: the lines hold what a second try would need, should the reboot fail.
        for folder in grub.folders():
            grub.remove(f"{folder}/{self.file_name}")
        if found is not None:
            block, rest = found
            if block.created and not rest:
                grub.remove(grub.custom)
            else:
                grub.write(grub.custom, rest)
        grub.disarm(self.identifier, had_variable=had_variable)
        grub.sync()
        if self.original and not now.may_be(self.original):
            raise InfrastructureError(
                f"{self._host.name} did not go back to its own Xen: it runs "
                f"{now.build_id or 'none that says its build id'}, and it ran {self.original}",
                todo="see which entry its GRUB boots by default",
            )
        return now

    def _runs(self, now: Running) -> bool:
        """Whether the machine may run this hypervisor."""
        if self.original and self.original != self._build_id:
            return not now.may_be(self.original) or now.is_cut_of(self._build_id)
        return bool(self._build_id) and now.may_be(self._build_id)
