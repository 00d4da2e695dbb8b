# SPDX-License-Identifier: MIT
"""`Row`: the figures measured at one guest's end, each with its unit and its definition.

Table, comparison, results and JUnit properties follow from the fields of `Row`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.units import GIB

if TYPE_CHECKING:
    from pytest_xenscrub.scrub.series import Series


@dataclasses.dataclass(frozen=True)
class Unit:
    """How a figure is shown.

    Attributes:
        name: the unit's name, as printed after a figure.
        size: one such unit in the unit that rows store.
        digits: digits after the decimal point.
    """

    name: str
    size: float
    digits: int

    def show(self, value: float) -> str:
        """A figure as text, without the unit's name; a share keeps its `%`."""
        sign = "%" if self.name == "%" else ""
        return f"{value / self.size:.{self.digits}f}{sign}"


SECONDS = Unit("s", 1, 2)
RATE = Unit("GiB/s", GIB, 1)
SHARE = Unit("%", 0.01, 2)
PAGES = Unit("pages", 1, 0)
BYTE_SECONDS = Unit("GiB s", GIB, 2)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of a row.

    Attributes:
        name: the name of the field of `Row`.
        unit: the unit in which the figure is shown.
        definition: what the figure is; for a time, its two moments.
        column: the figure's heading in the table; empty if the table leaves the figure out.
        more_is_better: whether a larger figure is better.
        least: whether repeats are shown by their minimum alone, without a spread.
        main: whether the column is shown by default.
    """

    name: str
    unit: Unit
    definition: str
    column: str
    more_is_better: bool
    least: bool
    main: bool


def metric(
    unit: Unit,
    definition: str,
    *,
    column: str | None = None,
    more_is_better: bool = False,
    least: bool = False,
    main: bool = False,
) -> Any:
    """Declare a figure as a field of `Row`; None until measured. Arguments: see `Metric`.

    The column's heading is the field's name unless `column` names another.
    """
    return dataclasses.field(
        default=None,
        metadata={
            "unit": unit, "definition": definition, "column": column,
            "more_is_better": more_is_better, "least": least, "main": main,
        },
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Setting:
    """The run, machine and Xen that rows come from; the same for all rows of a test.

    Attributes:
        test: the test's node id.
        host: the host's name, as the user wrote it.
        kind: the kind of host: real, emulated (TCG).
        toolstack: xl or libvirt.
        variant: the variant of Xen, such as stock.
        xen: Xen's version.
        debug: whether Xen is a debug build.
        build_id: Xen's build id.
        command_line: Xen's boot options.
        config: Kconfig options that the user set; empty for the host's own Xen.
        toolstack_version: version of xl or libvirt in dom0.
        total_bytes: the host's memory.
        cpus: number of the host's physical CPUs.
        cpu_model: model name of the host's CPUs.
        emulated_on: CPUs of the machine that emulates the host; empty for a real host.
        version: version of this package.
        started: start of the run, UTC, in ISO 8601.
        not_in_use: files that the variant changes but that no running program was built from.
        guest_type: guest type of the victims: pv, pvh or hvm.
        fill_share: share of its pages that a victim fills, see --xen-fill.
        fill_seed: the run's seed, which decides which pages those are, hex; empty if victims fill
            all pages.
        source: what Xen was built from: `git` and a commit, with `+` if files were changed, a
            package's version, a folder or a tarball; empty for the host's own Xen.
    """

    test: str
    host: str
    kind: str
    toolstack: str
    variant: str
    xen: str
    debug: bool
    build_id: str
    command_line: str = ""
    config: str = ""
    toolstack_version: str = ""
    total_bytes: int = 0
    cpus: int = 0
    cpu_model: str = ""
    emulated_on: str = ""
    version: str = ""
    started: str = ""
    not_in_use: str = ""
    guest_type: str = "pv"
    fill_share: float = 1.0
    fill_seed: str = ""
    source: str = ""


@dataclasses.dataclass
class Row:
    """One measured end of a guest. Times in s, sizes in bytes; None for what was not measured.

    Times are on dom0's monotonic clock; fill, downtime and probe are on the guest's own clock.

    Attributes:
        setting: the run, machine and Xen of the measurement.
        number: the row's number in its test, from 0.
        how: how the guest ended: destroy, crash, poweroff, reboot, save, migrate. For ends other
            than destroy, "issued" is the moment at which the guest was first seen to have stopped.
        memory_bytes: the guest's memory.
        vcpus: the guest's vCPUs.
        exposure_curve: pairs of s since destroy was issued and share of the guest's frames that
            still hold its bytes, in the order of time; None if RAM cannot be seen from outside.
        profile: CPU samples of the destroy, as in `scrub.profile`; None without --xen-profile.
        verdict: clean, residue or unproven; None if no probe judged the guest.
        filled_bytes: memory that the guest filled, if it filled a sample of its pages; else None.
        filled_share: `filled_bytes` as a share of the guest's memory.
        found_share: the smallest leak that the verdict finds, as a share of the guest's pages; see
            `Sampled`.
        differences: contradictions between the probes' reports and RAM seen from outside; None if
            all agreed.
        first_after_boot: whether this is the first measurement since the host booted or was
            resumed. Caches are cold then, so it does not count as a repeat of the others.
        too_starved: whether other work slowed the host down for more of the test than
            --xen-max-starvation; the times of such a row are not compared.
        series: the guest's memory, as it came back over time; only in the results file.
    """

    setting: Setting
    number: int
    how: str
    memory_bytes: int
    vcpus: int
    create: float | None = metric(SECONDS, "create issued → the toolstack returns")
    fill: float | None = metric(SECONDS, "the filler starts writing → every page is written")
    destroy: float | None = metric(
        SECONDS, "destroy issued → the toolstack returns: what `time xl destroy` shows", main=True
    )
    client: float | None = metric(
        SECONDS, "what libvirt's caller waits for a destroy, on the caller's own clock"
    )
    gone: float | None = metric(
        SECONDS, "destroy issued → Xen does not list the domain any more, not even as dying"
    )
    free: float | None = metric(SECONDS, "destroy issued → all of the guest's memory is free again")
    clean: float | None = metric(SECONDS, "destroy issued → the backlog is 0", main=True)
    exposure: float | None = metric(
        SECONDS,
        "destroy issued → the guest's last byte is gone from RAM, seen from outside; > if the test"
        " stopped looking before",
        main=True,
    )
    exposure_half: float | None = metric(
        SECONDS, "destroy issued → half of the guest's frames hold none of its bytes", column=""
    )
    exposure_over: float | None = metric(
        SECONDS, "destroy issued → the test stopped looking, with bytes still in RAM", column=""
    )
    exposed_byte_seconds: float | None = metric(
        BYTE_SECONDS,
        "the guest's bytes still in RAM, summed over the time since destroy was issued",
        column="exposed",
    )
    sampling_seconds: float | None = metric(
        SECONDS, "CPU time that looking at the guest's bytes took on this machine", column=""
    )
    recreate: float | None = metric(SECONDS, "destroy returned → a guest of the same size is built")
    downtime: float | None = metric(
        SECONDS, "the guest stops to be suspended → all of its vCPUs run again"
    )
    lost_cpu: float | None = metric(
        SECONDS,
        "CPU time that busy guests lost while this one was destroyed and scrubbed, against an"
        " undisturbed period of the same length",
        column="lost CPU",
    )
    backlog_pages: int | None = metric(
        PAGES, "unscrubbed pages when the guest's memory was first seen to be free", column=""
    )
    probe_bytes_per_second: float | None = metric(
        RATE, "rate at which probes read the freed memory", column="probe", more_is_better=True
    )
    coverage: float | None = metric(
        SHARE, "freed frames that were read ÷ freed frames", more_is_better=True, least=True
    )
    residue_frames: int | None = metric(PAGES, "the victim's frames that held residue", column="")
    pattern_pages: int | None = metric(
        PAGES, "dirty pages that held a pattern of this tool, in any frame", column=""
    )
    judged: float | None = metric(
        SHARE, "freed frames that were read or seen from outside ÷ freed frames", column="",
        more_is_better=True, least=True,
    )  # fmt: skip
    starved: float | None = metric(
        SHARE, "share of the test's time in which other work kept the host from running", column=""
    )
    stood: float | None = metric(
        SECONDS,
        "of the test, that in which the emulated host stood still, its clock included, to give"
        " memory back to this machine or to be looked at",
        column="",
    )
    stall: float | None = metric(
        SECONDS,
        "of the test, the longest time in which dom0, or one of its CPUs, did not respond, without"
        " what other work kept it from running",
    )
    other_create: float | None = metric(
        SECONDS,
        "the longest that a small guest's creation took while this one died",
        column="create beside",
    )
    other_destroy: float | None = metric(
        SECONDS,
        "the longest that a small guest's destroy took while this one died",
        column="destroy beside",
    )
    exposure_curve: list[list[float]] | None = None
    profile: dict[str, object] | None = None
    verdict: str | None = None
    filled_bytes: int | None = None
    filled_share: float | None = None
    found_share: float | None = None
    differences: str | None = None
    first_after_boot: bool = False
    too_starved: bool = False
    series: Series = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The row's id, unique in a run; a later row with the same id replaces the earlier."""
        return f"{self.setting.test}#{self.number}"

    def as_dict(self) -> dict[str, object]:
        """The row as a flat dictionary, for JSON and JUnit properties."""
        flat = dataclasses.asdict(self)
        return {**flat.pop("setting"), **flat}


def _metric_of(field: dataclasses.Field[Any]) -> Metric:
    known = dict(field.metadata)
    column = known.pop("column")
    return Metric(field.name, column=field.name if column is None else column, **known)


METRICS = tuple(_metric_of(field) for field in dataclasses.fields(Row) if field.metadata)
"""All figures of a row, in the order of the table's columns."""


def row_from(flat: dict[str, object]) -> Row:
    """The row that `as_dict` turned into `flat`; unknown keys are ignored."""
    known = {field.name for field in dataclasses.fields(Setting)}
    fields = {field.name for field in dataclasses.fields(Row)} - {"setting"}
    setting = Setting(**{k: v for k, v in flat.items() if k in known})  # type: ignore[arg-type]
    return Row(setting, **{k: v for k, v in flat.items() if k in fields})  # type: ignore[arg-type]
