# SPDX-License-Identifier: MIT
"""When a scenario skips, and that neither residue nor an error of others becomes a skip."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from pyroaring import BitMap64

from pytest_xenscrub import fixtures_guests
from pytest_xenscrub.errors import CommandError, Fault, UndecidedError, XenFaultError
from pytest_xenscrub.scrub.scenario import require
from pytest_xenscrub.suite import (
    test_aborted_scrubs,
    test_backlog,
    test_buddies,
    test_cpu_hotplug,
    test_cpupool,
    test_extents,
    test_killed_toolstack,
    test_large,
    test_many,
    test_numa,
    test_on_demand,
    test_page_offline,
    test_paging_pool,
    test_recreate,
    test_types,
)
from pytest_xenscrub.units import GIB, MIB

from .parts import Parts, body

if TYPE_CHECKING:
    from collections.abc import Callable

    Scenario = Callable[[Parts, pytest.MonkeyPatch], object]

NO_MEMORY = "xc_domain_populate_physmap: Cannot allocate memory"
PAGES = [200, 201]


def no_aborted_scrub(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_aborted_scrubs.check_backlogs([0, 0], parts.xen)


def no_backlog(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_backlog.test_probe_while_backlog_waits(*parts.usual(), parts.guests, parts.xen)


def few_neighbours(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_buddies, "interleave", lambda *_: 3)
    test_buddies.test_only_what_a_live_guest_gave_back_is_dirty(
        parts.guests, parts.probe, parts.timings, parts.dom0,
        running_xen=parts.xen, scrubbed_by="idle",
    )  # fmt: skip


def one_cpu(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.xen.info.cpus = 1
    body(test_cpu_hotplug.last_cpu)(parts.xen)


def no_backlog_for_cpu(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.dom0.wait_drained = lambda _: None
    test_cpu_hotplug.test_backlog_drains_without_the_cpu_that_went_offline(
        *parts.usual(), parts.guests, parts.dom0,
        running_xen=parts.xen, hotplug=parts.hotplug, last_cpu=1,
    )  # fmt: skip


def goes_offline(parts: Parts, *backlog: int) -> None:
    """Run the test with these backlogs, pages: after the destroy, later, with the CPU offline."""
    parts.hotplug.offline_cpu.return_value = 0.0
    parts.dom0.backlog_pages.side_effect = backlog
    test_cpu_hotplug.test_cpu_does_not_scrub_while_it_goes_offline(
        *parts.usual(), parts.guests, parts.dom0,
        running_xen=parts.xen, hotplug=parts.hotplug, last_cpu=1,
    )  # fmt: skip


def no_backlog_for_leaving_cpu(parts: Parts, _: pytest.MonkeyPatch) -> None:
    goes_offline(parts, 0, 0, 0)


def backlog_that_waits_for_nobody(parts: Parts, _: pytest.MonkeyPatch) -> None:
    goes_offline(parts, 400_000, 100_000, 0)


def one_cpu_for_pool(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.xen.info.cpus = 1
    fixture = body(test_cpupool.pool)
    next(fixture(MagicMock(), parts.guests, parts.dom0, parts.xen, managed_host=None))


def daemon_builds(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.toolstack.builder = None
    test_killed_toolstack.test_half_built_guests_leave_nothing(
        *parts.usual(), parts.guests, parts.dom0
    )


def small_host(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = GIB
    test_killed_toolstack.test_half_built_guests_leave_nothing(
        *parts.usual(), parts.guests, parts.dom0
    )


def too_small_for_many(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = 4 * test_many.LEAST_BYTES - MIB
    test_many.guest_bytes(parts.guests)


def one_node(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.xen.info.nodes = 1
    body(test_numa.nodes)(parts.dom0, parts.xen)


def no_range(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.dom0.wait_drained = lambda _: None
    parts.probe.read.return_value.clean_frames = BitMap64(range(100))
    body(test_page_offline.last_pages)(parts.probe, parts.dom0)


def no_backlog_for_pages(parts: Parts, _: pytest.MonkeyPatch) -> None:
    page, whole, free = 4096, 4096_000, 2048_000
    parts.dom0.wait_drained = lambda _: None
    parts.hotplug.offlined.return_value = {*PAGES}
    parts.dom0.settled_free_bytes.side_effect = [
        whole, whole - 2 * page, free, free + 2 * page, free,
    ]  # fmt: skip
    parts.probe.read.return_value.clean_frames = BitMap64(PAGES)
    test_page_offline.test_pages_come_and_go_while_backlog_waits(
        *parts.usual(), parts.guests, parts.dom0,
        hotplug=parts.hotplug, last_pages=PAGES, running_xen=parts.xen,
    )  # fmt: skip


def no_dirty_page(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_page_offline.test_dirty_pages_that_went_offline_come_back_clean(
        *parts.usual(), parts.guests, parts.dom0,
        hotplug=parts.hotplug, last_pages=PAGES, running_xen=parts.xen,
    )  # fmt: skip


def libvirts_pools(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.toolstack.sizes_pool = False
    test_paging_pool.test_paging_pools_come_back(parts.timings, parts.guests, parts.dom0, 10)


def daemon_hangs(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.toolstack.survives_early_crashes = False
    test_on_demand.test_guests_that_use_more_than_they_have_cost_nothing(
        parts.timings, parts.guests, parts.dom0
    )


def no_claims(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.toolstack.claims = (False,)
    request = type("Request", (), {"param": "claims"})()
    body(test_recreate.claims)(request, parts.guests)


def no_nested_paging(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.dom0.runs.return_value = False
    test_types.test_pvh_guest_gets_clean_memory(*parts.usual(), parts.guests, parts.dom0)


def extents_without_frames(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.victim.guest.knows_frames = False
    test_extents.test_guest_with_holes_leaves_nothing(
        *parts.usual(), parts.guests, parts.dom0, running_xen=parts.xen, holes="512:0"
    )


def no_whole_extents(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_extents.test_guest_with_holes_leaves_nothing(
        *parts.usual(), parts.guests, parts.dom0, running_xen=parts.xen, holes="512:0"
    )


def no_readers_of_extents(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.dom0.runs.return_value = False
    test_extents.test_single_pages_that_merge_leave_nothing(
        parts.probe, parts.timings, parts.guests, parts.dom0, reader_type="pvh"
    )


def size_of(parts: Parts, wanted: int) -> int:
    """Memory of a large guest, where so much is asked for; 0 for the largest that fits."""
    size: int = body(test_large.size)(type("Request", (), {"param": wanted})(), parts.guests)
    return size


def no_room_for_large(parts: Parts, _: pytest.MonkeyPatch) -> None:
    size_of(parts, 4 * GIB)


def no_largest(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = 19 * GIB
    size_of(parts, 0)


def no_room_for_large_and_small(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = 4 * GIB
    test_large.test_small_guests_come_and_go_while_large_one_dies(
        parts.victim, parts.timings, parts.guests, parts.dom0
    )


def large_is_gone_too_soon(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = 5 * GIB
    monkeypatch.setattr(test_large, "come_and_go", MagicMock())
    monkeypatch.setattr(test_large, "longest", lambda _: (0.1, 0.1))
    parts.dom0.domains.return_value = []
    parts.victim.start_destroy.return_value.done.return_value = False
    test_large.test_small_guests_come_and_go_while_large_one_dies(
        parts.victim, parts.timings, parts.guests, parts.dom0
    )


SKIPS: list[tuple[Scenario, str]] = [
    (no_aborted_scrub, "no scrub was ever aborted"),
    (no_backlog, "leaves no backlog"),
    (few_neighbours, "only 3 frames"),
    (one_cpu, "a single CPU"),
    (no_backlog_for_cpu, "no backlog any more when the CPU went"),
    (no_backlog_for_leaving_cpu, "no backlog of Xen sync waited"),
    (backlog_that_waits_for_nobody, "no backlog of Xen sync waited"),
    (one_cpu_for_pool, "a single CPU, which dom0 needs"),
    (daemon_builds, "in a daemon"),
    (small_host, "up to 1 GiB"),
    (too_small_for_many, "are needed"),
    (no_room_for_large, "2.00 GiB are free, and 4.00 GiB are needed"),
    (no_largest, "only 19.00 GiB are free: 16.00 GiB is tested already"),
    (no_room_for_large_and_small, "4.00 GiB are needed"),
    (large_is_gone_too_soon, "4.00 GiB died before a small guest"),
    (one_node, "one NUMA node"),
    (no_range, "no free range"),
    (no_backlog_for_pages, "no backlog any more when pages came"),
    (no_dirty_page, "leaves no page dirty"),
    (libvirts_pools, "chooses the size"),
    (daemon_hangs, "may hang when a guest crashes at its start"),
    (no_claims, "without claims"),
    (no_nested_paging, "no nested paging"),
    (extents_without_frames, "nobody knows here"),
    (no_whole_extents, "only 0 extents"),
    (no_readers_of_extents, "no nested paging"),
]


@pytest.mark.parametrize(("scenario", "why"), SKIPS)
def test_a_scenario_that_does_not_apply_is_skipped(
    scenario: Scenario, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pytest.skip.Exception, match=why):
        scenario(Parts(), monkeypatch)


@pytest.mark.parametrize(
    "scenario", [no_backlog, no_backlog_for_cpu, no_backlog_for_leaving_cpu, no_backlog_for_pages]
)
def test_residue_comes_before_a_skip(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    parts.probe.read.return_value.clean = False
    with pytest.raises(AssertionError):
        scenario(parts, monkeypatch)


def test_what_a_cpu_scrubs_before_it_is_offline_is_counted() -> None:
    goes_offline(Parts(), 400_000, 390_000, 300_000)
    with pytest.raises(AssertionError, match="390000 of 390000 pages were scrubbed before"):
        goes_offline(Parts(), 400_000, 390_000, 0)


def test_a_host_whose_cpu_pool_stays_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, managed, pool = Parts(), MagicMock(), MagicMock()
    monkeypatch.setattr(test_cpupool, "CpuPool", MagicMock(return_value=pool))
    for error in (None, XenFaultError("it cannot be destroyed")):
        assert not managed.broke.called
        pool.close.side_effect = error
        fixture = body(test_cpupool.pool)(
            MagicMock(param="credit"), parts.guests, parts.dom0, parts.xen, managed_host=managed
        )
        assert next(fixture) is pool
        assert next(fixture, None) is None
    managed.broke.assert_called_once_with("it cannot be destroyed")


def test_pages_that_xen_gave_to_others_are_no_fault_of_xens() -> None:
    test_extents.require_pages(5, 5, "pages")
    with pytest.raises(UndecidedError, match="pages: 4, and 5 are needed: nothing is proven"):
        test_extents.require_pages(4, 5, "pages")


def test_a_scenario_that_did_not_come_about_is_no_fault_of_xens() -> None:
    require(1, "a backlog")
    with pytest.raises(UndecidedError, match="no backlog: nothing is proven") as caught:
        require(0, "no backlog")
    assert caught.value.fault is Fault.UNKNOWN
    assert "run it again" in caught.value.todo


def test_no_assertion_of_the_suite_says_that_nothing_is_proven() -> None:
    """An assertion that fails is Xen's fault; `require` raises what is nobody's."""
    for path in Path(test_extents.__file__).parent.glob("*.py"):
        asserted = re.findall(r"^ *assert .*proven.*$", path.read_text(), re.MULTILINE)
        assert not asserted, (path.name, asserted)


def test_a_scrub_that_was_aborted_is_no_skip() -> None:
    test_aborted_scrubs.check_backlogs([0, 7], Parts().xen)


def test_an_xfail_of_the_suite_is_for_an_assertion_only() -> None:
    function: Any = test_page_offline.test_dirty_pages_that_went_offline_come_back_clean
    (xfail,) = [mark for mark in function.pytestmark if mark.name == "xfail"]
    assert xfail.kwargs["raises"] is AssertionError
    others = set(dir(test_page_offline)) - {"test_dirty_pages_that_went_offline_come_back_clean"}
    for name in others:
        found = getattr(getattr(test_page_offline, name), "pytestmark", [])
        assert "xfail" not in [mark.name for mark in found]


# -- memory that is free, and that no guest is given -----------------------------------------------


def next_guest(parts: Parts) -> None:
    """Recreate the victim."""
    test_recreate.test_recreated_guest_gets_clean_memory(
        *parts.usual(), parts.dom0, guests=parts.guests, claims=False
    )


def test_a_probe_for_which_free_memory_does_not_suffice_is_xens_failure() -> None:
    parts = Parts()
    parts.probe.read.side_effect = CommandError(NO_MEMORY)
    with pytest.raises(pytest.fail.Exception, match="no guest is given it"):
        no_backlog(parts, pytest.MonkeyPatch())


def test_a_next_guest_for_which_free_memory_does_not_suffice_is_xens_failure() -> None:
    parts = Parts()
    parts.guests.create.side_effect = CommandError(NO_MEMORY)
    with pytest.raises(pytest.fail.Exception, match="is not there for the next one"):
        next_guest(parts)


def test_what_else_xl_refuses_is_not_xens_failure() -> None:
    parts = Parts()
    parts.probe.read.side_effect = CommandError("No space left on device")
    with pytest.raises(CommandError, match="No space left"):
        no_backlog(parts, pytest.MonkeyPatch())
    parts.guests.create.side_effect = CommandError("No space left on device")
    with pytest.raises(CommandError, match="No space left"):
        next_guest(parts)


def test_a_toolstack_that_cannot_start_a_type_of_guest_is_skipped() -> None:
    libvirt: Any = SimpleNamespace(name="libvirt", types=("pv", "pvh"))
    nothing: Any = None
    guests = body(fixtures_guests.guests)(
        nothing, nothing, nothing, nothing, libvirt, "hvm", nothing
    )
    with pytest.raises(pytest.skip.Exception, match="xl can"):
        next(guests)
