# SPDX-License-Identifier: MIT
"""Makes the `Setting` of results: the run, host, Xen and toolstack that they come from."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub import __version__
from pytest_xenscrub.limits import usable_cpus
from pytest_xenscrub.scrub.row import Setting

if TYPE_CHECKING:
    from pytest_xenscrub.run.managed_host import RunningXen
    from pytest_xenscrub.run.session import Session
    from pytest_xenscrub.toolstack.protocol import Toolstack


def setting_of(
    test: str, session: Session, up: RunningXen, toolstack: Toolstack, guest_type: str
) -> Setting:
    """The setting of a test's rows.

    Args:
        test: the test's node id.
        session: the run.
        up: the host and its Xen.
        toolstack: the toolstack that drives the guests.
        guest_type: the victims' type of guest.
    """
    host, info, xen = up.host, up.info, up.xen
    return Setting(
        test=test,
        host=host.name,
        kind=host.kind,
        toolstack=toolstack.name,
        variant=xen.name,
        xen=info.version,
        debug=info.debug,
        build_id=info.build_id,
        command_line=info.command_line,
        config="" if xen.artefact is None else " ".join(session.options.config),
        toolstack_version=toolstack.version,
        total_bytes=info.total_bytes,
        cpus=info.cpus,
        cpu_model=info.cpu_model,
        emulated_on="" if host.kind == "real" else this_machine(),
        version=__version__,
        started=session.started,
        not_in_use=" ".join(xen.unused_with(toolstack.name)),
        guest_type=guest_type,
        source=xen.source,
        fill_share=session.options.fill.share,
        fill_seed="" if session.sample is None else f"{session.sample.seed:x}",
    )


@functools.cache
def this_machine() -> str:
    """Number and model of this machine's CPUs, which decide how fast an emulated host is.

    Leaves out this machine's name, because CI machines change theirs.
    """
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.+)", text, re.MULTILINE)
    return f"{usable_cpus()} x {found[1].strip() if found else 'a CPU without a name'}"
