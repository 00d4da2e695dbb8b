# SPDX-License-Identifier: MIT
"""The xl toolstack: commands timed in dom0, consoles by `xl console`."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pytest_xenscrub.errors import CommandError, InfrastructureError, NotApplicableError
from pytest_xenscrub.toolstack import firmware
from pytest_xenscrub.toolstack.base import ToolstackBase
from pytest_xenscrub.toolstack.protocol import Created, DomainConfig, Listed
from pytest_xenscrub.toolstack.xl_console import XlConsole
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.answers import Reclaim, TimedResult, Until
    from pytest_xenscrub.guest_type import GuestType

_LIST_FIELDS = 6
_VERSION_SECONDS = 20.0
_FIRMWARE_SECONDS = 120.0
# Asks the package, because xl does not tell its version: xen_version of `xl info` is the
# hypervisor's.
_VERSION = """
xl=$(command -v xl)
case $xl in /usr/sbin/*|/usr/bin/*)
    dpkg-query -W -f '${Version}' xen-utils-common 2>/dev/null && exit
    rpm -q --qf '%{VERSION}-%{RELEASE}' xen-runtime 2>/dev/null && exit
esac
echo "$xl"
"""
_NO_LOG = "Failed to enable logdirty"
# xl has no option for claim_mode and reads only /etc/xen/xl.conf. So it runs in a mount namespace
# in which a changed copy is mounted over that file; the mount ends with xl.
_WITH_CLAIMS = r"""
conf=/etc/xen/xl.conf
{ grep -vs '^[[:space:]]*claim_mode' $conf; echo "claim_mode=$1"; } > "$0" &&
mount --bind "$0" $conf && shift && exec "$@"
"""


class Xl(ToolstackBase):
    """Drives xl in dom0; implements `Toolstack`."""

    name = "xl"
    types: ClassVar[tuple[GuestType, ...]] = ("pv", "pvh", "hvm")
    claims = (True, False)
    places = True
    sizes_pool = True
    survives_early_crashes = True
    logs = "/var/log/xen/xl-"
    by_hand = "xl destroy"

    @functools.cached_property
    def version(self) -> str:
        """Version of dom0's package; for tools without a package, the path of xl."""
        deadline = self._deadline(_VERSION_SECONDS, "asking for xl's version")
        return self.dom0.run(["sh", "-c", _VERSION], deadline=deadline).stdout.strip()

    def _run(self, argv: list[str], deadline: Deadline) -> TimedResult:
        return self.dom0.run(argv, deadline=deadline).check()

    @property
    def builder(self) -> Callable[[DomainConfig], list[str]]:
        """See `create_command`."""
        return self.create_command

    def create_command(self, config: DomainConfig) -> list[str]:
        """The `xl create` command for a domain; writes the configuration file."""
        settings: dict[str, object] = {
            "type": config.type,
            "name": config.name,
            "uuid": str(config.uuid),
            **self._boot(config),
            "memory": config.memory_bytes // MIB,
            "vcpus": config.vcpus,
            "on_crash": config.on_crash,
        }
        if config.node is not None:
            # Xen allocates memory on the nodes of a domain's vCPUs; libxl has no other way for PV
            # domains.
            settings["cpus"] = f"node:{config.node}"
        if config.maximum_bytes is not None:
            settings["maxmem"] = config.maximum_bytes // MIB
        if config.pool_bytes is not None:
            settings["shadow_memory"] = config.pool_bytes // MIB
        path = f"{self.folder}/{config.name}.cfg"
        # xl's configuration syntax accepts JSON's strings and numbers.
        self.dom0.write(path, "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
        command = ["xl", "create", *(["-p"] if config.paused else []), path]
        if config.claim is None:
            return command
        own = f"{self.folder}/xl.conf"
        return ["unshare", "-m", "sh", "-c", _WITH_CLAIMS, own, str(int(config.claim)), *command]

    def _boot(self, config: DomainConfig) -> dict[str, object]:
        """Settings for a domain's kernel or firmware."""
        if config.type != "hvm":
            return {"kernel": self.kernel, "extra": config.command_line}
        module = f"{self.folder}/{config.name}.module"
        self.dom0.write(module, firmware.module(config))
        return firmware.settings(self._firmware, module)

    @functools.cached_property
    def _firmware(self) -> str:
        """Path of the firmware in dom0; copied there for the first HVM guest."""
        path = f"{self.folder}/firmware.elf"
        with tempfile.NamedTemporaryFile(prefix="xenscrub-", suffix=".elf") as made:
            made.write(firmware.firmware(self._installed.read_bytes()))
            made.flush()
            self.dom0.host.put(
                Path(made.name),
                path,
                deadline=self._deadline(_FIRMWARE_SECONDS, "copying the guests' firmware"),
            )
        return path

    def create(self, config: DomainConfig, *, deadline: Deadline) -> Created:
        """`xl create`."""
        command = self.create_command(config)
        created = self._run(command, deadline)
        for domain in self.dom0.domains():
            if domain.uuid == config.uuid:
                return Created(domain.domid, created.issued, created.returned)
        raise InfrastructureError(
            f"{config.name}: xl created it, but xl list does not show it",
            tried=" ".join(command),
            evidence=self.dom0.evidence(),
        )

    def console(self, domid: int) -> XlConsole:
        """`xl console`."""
        # Without a terminal, `xl console` prints the guest's output, but does not read input.
        command = ["xl", "console", "-t", "pv", str(domid)]
        return XlConsole(self.dom0.host.ssh_command(command, tty=True))

    def list(self, deadline: Deadline) -> list[Listed]:
        """`xl list`."""
        return parse_list(self._run(["xl", "list"], deadline).stdout)

    def destroy(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """`xl destroy`, watched in dom0."""
        return self.dom0.reclaim(
            domid, ["xl", "destroy", str(domid)], until=until, deadline=deadline
        )

    def pause(self, domid: int, deadline: Deadline) -> None:
        """`xl pause`."""
        self._run(["xl", "pause", str(domid)], deadline)

    def shutdown(self, domid: int, deadline: Deadline) -> None:
        """`xl shutdown`."""
        self._run(["xl", "shutdown", str(domid)], deadline)

    def reboot(self, domid: int, deadline: Deadline) -> None:
        """`xl reboot`."""
        self._run(["xl", "reboot", str(domid)], deadline)

    def save(self, domid: int, name: str, *, until: Until, deadline: Deadline) -> Reclaim:
        """`xl save`."""
        command = ["xl", "save", str(domid), self._saved_file(name, deadline)]
        return self._leaving(
            domid, lambda: self._run(command, deadline), until=until, deadline=deadline
        )

    def checkpoint(self, domid: int, name: str, deadline: Deadline) -> None:
        """`xl save -c`."""
        self._run(["xl", "save", "-c", str(domid), self._saved_file(name, deadline)], deadline)
        self._drop_saved(name, deadline)

    def restore(self, name: str, deadline: Deadline) -> None:
        """`xl restore`."""
        self._run(["xl", "restore", f"{self.saved}/{name}"], deadline)
        self._drop_saved(name, deadline)

    def migrate(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """`xl migrate` to the same dom0, without ssh."""
        # With an empty ssh command (-s), xl runs the name of the host as a command.
        command = ["xl", "migrate", "-s", "", str(domid), "xl migrate-receive"]
        try:
            return self._leaving(
                domid, lambda: self._run(command, deadline), until=until, deadline=deadline
            )
        except CommandError as error:
            if _NO_LOG in error.evidence["stderr"]:
                raise NotApplicableError(
                    f"{self.dom0.host.name}: this Xen migrates no live PV guest: it was built"
                    " without shadow paging, and so cannot log what the guest writes meanwhile",
                    todo="build one: --xen-variant=stock --xen-config=SHADOW_PAGING=y",
                ) from None
            raise

    def _end(self, domid: int, deadline: Deadline) -> None:
        self._run(["xl", "destroy", str(domid)], deadline)


def parse_list(text: str) -> list[Listed]:
    """Parse the table of `xl list`; a dying domain's name is `(null)`.

    Raises:
        InfrastructureError: the text is not that table.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Name"):
        raise InfrastructureError("xl list printed no table", evidence={"xl list": text})
    domains = []
    for line in lines[1:]:
        # A name may have blanks, so the fields are counted from the end.
        fields = line.rsplit(None, _LIST_FIELDS - 1)
        try:
            name, domid, memory, vcpus, state, _time = fields
            domains.append(Listed(name.strip(), int(domid), int(memory) * MIB, int(vcpus), state))
        except ValueError:
            raise InfrastructureError(
                f"xl list printed a line that is not understood: {line}",
                evidence={"xl list": text},
            ) from None
    return domains
