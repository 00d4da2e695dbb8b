# SPDX-License-Identifier: MIT
"""What each destroy took, as a row: the timings' definitions are here, and nowhere else.

All moments are dom0's monotonic clock, but fill and probe, which are the guest's own.

| create   | create issued → the toolstack returns |
| fill     | the filler starts writing → every page written |
| destroy  | destroy issued → the toolstack returns: what `time xl destroy` shows |
| client   | the same as the client of a toolstack that is a library sees it, on its own clock |
| gone     | destroy issued → the domain is out of the list, dying ones included |
| free     | destroy issued → all of its memory is free again |
| clean    | destroy issued → the backlog is 0 |
| recreate | destroy returned → a guest of the same size is built |
| probe    | the probe starts reading → all read |
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_xenscrub.guest.console import Filled

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.guest.guest import Ended, Guest
    from pytest_xenscrub.scrub.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where rows come from: the same for all rows of a test.

    Attributes:
        test: the test's node id.
        host: how the user called the host.
        kind: what it is made of: real, emulated (TCG).
        toolstack: xl or libvirt.
        variant: which way of scrubbing its Xen has.
        xen: its version.
        debug: whether it is a debug build.
        build_id: which build it is.
    """

    test: str
    host: str
    kind: str
    toolstack: str
    variant: str
    xen: str
    debug: bool
    build_id: str


@dataclasses.dataclass
class Row:
    """One measured end of a guest. Times in s, sizes in bytes; None for what was not measured.

    Attributes:
        setting: where it was measured.
        number: of this row in its test, from 0.
        how: how the guest ended: destroy, crash, poweroff, reboot.
        memory_bytes: the guest's memory.
        vcpus: the guest's vCPUs.
        backlog_pages: unscrubbed pages when its memory was free, as first seen.
        probe_bytes_per_second: how fast what it left was read.
        coverage: freed frames that were read ÷ freed frames.
        residue_frames: of the victim's frames, how many held residue.
        pattern_pages: dirty pages with a pattern of ours, wherever they were.
        verdict: clean, residue or unproven; None where nothing was probed.
    """

    setting: Setting
    number: int
    how: str
    memory_bytes: int
    vcpus: int
    create: float | None = None
    fill: float | None = None
    destroy: float | None = None
    client: float | None = None
    gone: float | None = None
    free: float | None = None
    clean: float | None = None
    recreate: float | None = None
    backlog_pages: int | None = None
    probe_bytes_per_second: float | None = None
    coverage: float | None = None
    residue_frames: int | None = None
    pattern_pages: int | None = None
    verdict: str | None = None

    @property
    def id(self) -> str:
        """Unique in a run: a later row of the same id is the same row, with more in it."""
        return f"{self.setting.test}#{self.number}"

    def as_dict(self) -> dict[str, object]:
        """Flat, for JSON and properties: every key, units in the names' documentation."""
        flat = dataclasses.asdict(self)
        return {**flat.pop("setting"), **flat}


def row_from(flat: dict[str, object]) -> Row:
    """The row of which `as_dict` made `flat`; what it does not know is left out."""
    known = {field.name for field in dataclasses.fields(Setting)}
    fields = {field.name for field in dataclasses.fields(Row)} - {"setting"}
    setting = Setting(**{k: v for k, v in flat.items() if k in known})  # type: ignore[arg-type]
    return Row(setting, **{k: v for k, v in flat.items() if k in fields})  # type: ignore[arg-type]


class Timings:
    """Collects the rows of one test.

    Args:
        setting: where they come from.
        changed: told of each row that is new or has more in it: results are kept as they happen.
    """

    def __init__(self, setting: Setting, changed: Callable[[Row], None] = lambda _: None) -> None:
        self.setting = setting
        self.rows: list[Row] = []
        self._changed = changed

    def record(self, ended: Ended) -> Row:
        """A row for a guest that has ended."""
        guest, reclaim = ended.guest, ended.reclaim
        filled = guest.last(Filled)

        def since_issued(moment: float | None) -> float | None:
            return None if moment is None else moment - reclaim.issued

        row = Row(
            setting=self.setting,
            number=len(self.rows),
            how=ended.how,
            memory_bytes=guest.memory_bytes,
            vcpus=guest.config.vcpus,
            create=guest.created.seconds,
            fill=None if filled is None else filled.ns / 1e9,
            destroy=since_issued(reclaim.returned),
            client=None if reclaim.command is None else reclaim.command.client_seconds,
            gone=since_issued(reclaim.gone),
            free=since_issued(reclaim.free),
            clean=since_issued(reclaim.clean),
            backlog_pages=reclaim.backlog[0][1] if reclaim.backlog else None,
        )
        self.rows.append(row)
        self._changed(row)
        return row

    def recreated(self, ended: Ended, guest: Guest) -> None:
        """A guest of the same size was built after `ended`, whose row is the last one."""
        if ended.reclaim.returned is not None and self.rows:
            self.rows[-1].recreate = guest.created.returned - ended.reclaim.returned
            self._changed(self.rows[-1])

    def judge(self, verdict: Verdict) -> None:
        """What was read of the memory that the last row's guest had."""
        if not self.rows:
            return
        row = self.rows[-1]
        row.probe_bytes_per_second = verdict.bytes_per_second
        row.coverage = verdict.coverage
        row.residue_frames = len(verdict.residue_in_victim)
        row.pattern_pages = verdict.pattern_pages
        row.verdict = verdict.state
        self._changed(row)
