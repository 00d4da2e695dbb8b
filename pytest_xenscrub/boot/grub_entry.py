# SPDX-License-Identifier: MIT
"""Adds a hypervisor and its GRUB entry to a machine, and removes them."""

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
        host: the machine; its dom0 is reached as root.
        tag: marks what is put on the machine, so that only that is removed; letters, digits, `.`,
            `_` and `-`.
        build_id: the hypervisor's build id; empty if unknown: the machine then counts as running it
            unless it runs its own Xen.

    Attributes:
        identifier: the entry's name in GRUB's menu.
        file_name: the hypervisor's file in the boot folder, with a name that update-grub ignores.
        original: build id of the machine's own hypervisor; empty until it is known.

    Raises:
        ConfigurationError: the tag has characters that are not allowed.
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
        """Put the hypervisor and its entry on the machine, without setting it as the next boot.

        Args:
            grub: the machine's GRUB.
            gz: the hypervisor.
            before: the Xen that the machine runs.
            xen_options: appended to the options of the machine's own Xen.
            deadline: limit.

        Raises:
            ConfigurationError: the machine's GRUB is not set up for that; nothing was changed.
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
        # Lines of an earlier boot that was not undone describe the machine as it was before, so
        # they are kept.
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
        """Remove the hypervisor and its entry; boot the machine's own Xen unless it runs.

        May be called at any time, and again; waits for a machine that is still booting.

        Returns:
            Which boot of which Xen runs now.

        Raises:
            DeadlineExceededError: the machine does not answer, or did not come back.
            InfrastructureError: the machine came back with another Xen than its own.
        """
        now = wait_for_boot(self._host, None, deadline)
        grub = Grub(self._host, deadline)
        found = find_block(grub.read(grub.custom) or "", self._tag)
        had_variable = None
        if found is not None:
            self.original = found[0].original
            had_variable = found[0].had_variable
        # Before the reboot, which would otherwise boot this hypervisor again.
        grub.disarm(self.identifier, had_variable=had_variable)
        if self._runs(now):
            now = reboot(self._host, now, deadline)
        # After the reboot, because a second attempt needs these lines if the reboot fails.
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
