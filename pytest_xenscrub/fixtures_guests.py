# SPDX-License-Identifier: MIT
"""Fixtures that hand out guests, and what is measured of them.

Tests use `guests`, `victim`, `probe` and `timings`; the others serve these.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.outside.exposure import Witness
    from pytest_xenscrub.run.managed_host import ManagedHost, RunningXen
    from pytest_xenscrub.run.session import Session
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.row import Row
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.verdict import Verdict
    from pytest_xenscrub.scrub.victim import Victim
    from pytest_xenscrub.toolstack.protocol import Toolstack


@pytest.fixture
def xen_guest_type(request: pytest.FixtureRequest, _xen_session: Session) -> GuestType:
    """Which of `--xen-guest-type`'s victims are: pv, pvh or hvm."""
    chosen: GuestType = getattr(request, "param", _xen_session.options.guest_type[0])
    return chosen


@pytest.fixture
def _witness(running_xen: RunningXen) -> Iterator[Witness | None]:
    """Watches from outside how dead guests' bytes leave RAM, until the test has ended."""
    if running_xen.oracle is None:
        yield None
        return
    from pytest_xenscrub.outside.exposure import Witness  # noqa: PLC0415 - only with a host

    witness = Witness(running_xen.oracle)
    yield witness
    witness.close()


@pytest.fixture
def guests(
    request: pytest.FixtureRequest,
    _xen_session: Session,
    managed_host: ManagedHost,
    running_xen: RunningXen,
    toolstack: Toolstack,
    xen_guest_type: GuestType,
    _witness: Witness | None,
) -> Iterator[GuestFactory]:
    """Creates guests, for tests that need more than a victim and a probe."""
    from pytest_xenscrub.guest.factory import GuestFactory, InCommon  # noqa: PLC0415 - with a host
    from pytest_xenscrub.guest.listeners import Listeners  # noqa: PLC0415 - as above

    if xen_guest_type not in toolstack.types:
        pytest.skip(
            f"{toolstack.name} starts no {xen_guest_type} guest of our kernel: it cannot"
            " replace the firmware; xl can"
        )
    running_xen.dom0.capabilities.check_runs(xen_guest_type)
    outside, profiled = running_xen.host.outside, _xen_session.options.profile
    common = InCommon(
        run=_xen_session.run,
        tag=_xen_session.tag,
        numbers=_xen_session.guest_numbers,
        given_back=managed_host.given_back,
        cpus=running_xen.info.cpus,
        clean_byte=running_xen.info.clean_byte,
        reveal=_xen_session.options.show_residue,
        sample=_xen_session.sample,
    )
    listeners = Listeners(
        update=_xen_session.update,
        heard=functools.partial(_xen_session.logs.console, request.node.nodeid),
        witness=_witness,
        start_sampling=outside.start_sampling if profiled and outside is not None else None,
    )
    factory = GuestFactory(
        toolstack, running_xen.dom0, common, listeners, victim_type=xen_guest_type
    )
    yield factory
    factory.close()


@pytest.fixture
def xen_repeat(request: pytest.FixtureRequest) -> int:
    """The number of this repeat of the test (`--xen-repeat`), from 1."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def timings(
    request: pytest.FixtureRequest,
    _xen_session: Session,
    managed_host: ManagedHost,
    running_xen: RunningXen,
    toolstack: Toolstack,
    xen_guest_type: GuestType,
    _witness: Witness | None,
    *,
    xen_repeat: int,
) -> Iterator[Timings]:
    """Collects the timings of each end of a guest, for the table and the results.

    `timings.record(victim.destroy())` makes a row; a probe's verdict is added to that row.
    """
    from pytest_xenscrub.host.outside import standing, starvation  # noqa: PLC0415 - only with a host
    from pytest_xenscrub.report import results  # noqa: PLC0415
    from pytest_xenscrub.run.setting import setting_of  # noqa: PLC0415 - only with a host
    from pytest_xenscrub.scrub.fit import fits  # noqa: PLC0415
    from pytest_xenscrub.scrub.timing import Timings  # noqa: PLC0415

    def changed(row: Row) -> None:
        request.node.ihook.pytest_xenscrub_row(config=request.config, row=row)

    setting = setting_of(request.node.nodeid, _xen_session, running_xen, toolstack, xen_guest_type)
    collected = Timings(
        setting, changed, first_after_boot=managed_host.first_measurement,
        starved_seconds=starvation(running_xen.host),
        stood_seconds=standing(running_xen.host),
        stalled_seconds=running_xen.dom0.stalled_seconds,
        max_starvation=_xen_session.options.max_starvation,
        first=results.next_number(request.node.user_properties),
    )  # fmt: skip
    yield collected
    try:
        collected.close()
    finally:  # the table has the figures that the file of results could not store
        request.node.user_properties += results.as_properties(collected.rows)
    found = fits(collected.rows)
    for fit in found:
        _xen_session.records.record_fit(setting, fit)
    request.node.user_properties += results.fits_as_properties(found)


@pytest.fixture
def max_exposure(_xen_session: Session) -> float:
    """How long a destroyed guest's bytes may stay in RAM, s for each GiB (`--xen-max-exposure`)."""
    return _xen_session.options.max_exposure


@pytest.fixture
def victim(_xen_session: Session, guests: GuestFactory, dom0: Dom0) -> Victim:
    """The guest that is destroyed. `victim.fill()` creates it and fills its memory."""
    from pytest_xenscrub.scrub.victim import Victim  # noqa: PLC0415 - only with a host

    wanted = _xen_session.options.guest_memory
    return Victim(guests, dom0.free_bytes() // 3 if wanted is None else wanted)


@pytest.fixture
def probe(
    request: pytest.FixtureRequest,
    _xen_session: Session,
    running_xen: RunningXen,
    guests: GuestFactory,
    timings: Timings,
) -> Probe:
    """Judges freed memory: `probe.read(frames)` reads all free memory and returns a verdict.

    On an emulated host, what probes read is compared with RAM seen from outside, frame by frame.
    """
    from pytest_xenscrub.scrub.crosscheck import CrossCheck  # noqa: PLC0415 - only with a host
    from pytest_xenscrub.scrub.probe import Probe  # noqa: PLC0415 - as above

    numbers = itertools.count()

    def judged(verdict: Verdict) -> None:
        # First, so that the verdict is kept even if the disk is full or a user's hook fails.
        _xen_session.judged(request.node, next(numbers), verdict)
        timings.judge(verdict)
        _xen_session.records.judged(timings.rows[-1] if timings.rows else None, verdict)

    def noted(verdict: Verdict) -> None:
        _xen_session.judged(request.node, next(numbers), verdict, counted=False)

    return Probe(
        guests,
        min_coverage=_xen_session.options.min_coverage,
        judged=judged,
        noted=noted,
        check=None if running_xen.oracle is None else CrossCheck(running_xen.oracle, guests),
    )
