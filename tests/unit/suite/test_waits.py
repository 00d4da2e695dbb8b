# SPDX-License-Identifier: MIT
"""A scenario that waits for Xen in vain blames Xen, unless the host was starved meanwhile."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import Reclaim
from pytest_xenscrub.errors import (
    CommandError,
    DeadlineExceededError,
    Fault,
    HostLostError,
    ResidueError,
    UndecidedError,
    XenHungError,
    XenScrubError,
)
from pytest_xenscrub.guest.guest import Ended
from pytest_xenscrub.scrub.copies import wait_gone
from pytest_xenscrub.suite import (
    conftest,
    test_buddies,
    test_cpu_hotplug,
    test_dying,
    test_exposure,
    test_foreign_mapping,
    test_killed_toolstack,
    test_large,
    test_many,
    test_move,
    test_numa,
    test_odd_destroys,
    test_page_offline,
    test_preserve,
)
from pytest_xenscrub.toolstack.base import ToolstackBase
from pytest_xenscrub.units import GIB, MIB

from .parts import WAITED, Parts, body, lets_it_pass

if TYPE_CHECKING:
    from collections.abc import Callable

    Scenario = Callable[[Parts, pytest.MonkeyPatch], object]

RECLAIM = Reclaim(1.0, 1.5, 2.0, 2.5, 3.0, None, [], [])


def buddies(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_buddies, "interleave", lambda *_: 1000)
    test_buddies.test_only_what_a_live_guest_gave_back_is_dirty(
        parts.guests, parts.probe, parts.timings, parts.dom0,
        running_xen=parts.xen, scrubbed_by="idle",
    )  # fmt: skip


def cpu_hotplug(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_cpu_hotplug.test_backlog_drains_without_the_cpu_that_went_offline(
        *parts.usual(), parts.guests, parts.dom0,
        running_xen=parts.xen, hotplug=parts.hotplug, last_cpu=1,
    )  # fmt: skip


def bytes_stay(parts: Parts, _: pytest.MonkeyPatch) -> None:
    ended = parts.victim.destroy.return_value
    ended.recorder.finish.return_value.last_byte = None
    parts.oracle.holding.return_value = BitMap64()
    parts.oracle.frame_table.xen_heap.return_value = BitMap64()
    test_exposure.test_bytes_leave_ram_soon(
        parts.victim, parts.timings, parts.oracle, parts.guests, max_exposure=1.0
    )


def zombie(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.dom0.domains.return_value = [MagicMock(domid=5, dying=False, memory_bytes=64 * MIB)]
    body(conftest.wait_zombie)(parts.dom0)(5, MIB)


def held(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_foreign_mapping.test_pages_held_by_dom0_are_scrubbed_when_released(
        *parts.usual(), parts.dom0, parts.mapping, wait_zombie=MagicMock()
    )


def killed(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_killed_toolstack.build_part(parts.dom0, MagicMock(memory_bytes=MIB), 0.5, ["xl", "create"])


def half_built(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_killed_toolstack, "build_part", MagicMock())
    monkeypatch.setattr(test_killed_toolstack, "DomainConfig", MagicMock(memory_bytes=MIB))
    test_killed_toolstack.test_half_built_guests_leave_nothing(
        *parts.usual(), parts.guests, parts.dom0
    )


def small_beside_large(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.guests.most_bytes.return_value = 20 * GIB
    took = iter([(0.5, 0.1), (8.0, 0.1)])
    monkeypatch.setattr(test_large, "come_and_go", MagicMock())
    monkeypatch.setattr(test_large, "longest", lambda _: next(took))
    parts.victim.start_destroy.return_value.done.return_value = False
    parts.dom0.domains.return_value = [MagicMock(domid=5)]
    test_large.test_small_guests_come_and_go_while_large_one_dies(
        parts.victim, parts.timings, parts.guests, parts.dom0
    )


def many(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_many, "filled", lambda *_: [parts.victim.guest] * 2)
    monkeypatch.setattr(test_many, "destroy_at_once", lambda _: [])
    test_many.test_many_destroyed_at_once_leave_nothing(
        parts.guests, parts.probe, parts.timings, parts.dom0
    )


def numa(parts: Parts, _: pytest.MonkeyPatch) -> None:
    nodes = {0: range(10_000), 1: range(10_000, 20_000)}
    parts.victim.fill.return_value = BitMap64(range(20_000))
    test_numa.test_backlog_of_each_node_drains(
        *parts.usual(), parts.guests, parts.dom0, running_xen=parts.xen, nodes=nodes
    )


def destroyed_twice(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_odd_destroys.test_guest_destroyed_twice_leaves_nothing(
        *parts.usual(), parts.toolstack, parts.dom0
    )


def paused(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_odd_destroys.test_paused_guest_leaves_nothing(*parts.usual(), parts.toolstack, parts.dom0)


def never_ran(parts: Parts, _: pytest.MonkeyPatch) -> None:
    test_odd_destroys.test_guest_that_never_ran_leaves_nothing(
        *parts.usual(), parts.guests, parts.dom0
    )


def probes_backlog(parts: Parts, _: pytest.MonkeyPatch) -> None:
    body(test_page_offline.last_pages)(parts.probe, parts.dom0)


def pages_offline(parts: Parts, _: pytest.MonkeyPatch) -> None:
    pages, page = [200, 201], 4096
    parts.hotplug.offlined.return_value = {*pages}
    whole, free = 1000 * page, 500 * page
    parts.dom0.settled_free_bytes.side_effect = [
        whole, whole - 2 * page, free, free + 2 * page, free,
    ]  # fmt: skip
    test_page_offline.test_pages_come_and_go_while_backlog_waits(
        *parts.usual(), parts.guests, parts.dom0,
        hotplug=parts.hotplug, last_pages=pages, running_xen=parts.xen,
    )  # fmt: skip


def crashed(parts: Parts, _: pytest.MonkeyPatch) -> None:
    parts.toolstack.list.return_value = [MagicMock(domid=5, state="r")]
    test_preserve.wait_crashed(parts.toolstack, parts.dom0, 5)


WAITS: list[Scenario] = [
    buddies, cpu_hotplug, bytes_stay, zombie, held, killed, half_built, many, numa,
    small_beside_large,
    destroyed_twice, paused, never_ran, probes_backlog, pages_offline, crashed,
]  # fmt: skip


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize(
    ("starved", "kind", "fault"),
    [(0.0, XenHungError, Fault.XEN), (WAITED, UndecidedError, Fault.UNKNOWN)],
)
def test_a_wait_for_xen_that_ends_in_vain(
    wait: Scenario, starved: float, kind: type[XenScrubError], fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with pytest.raises(kind) as caught:
        wait(Parts(starved), monkeypatch)
    assert caught.value.fault is fault


# -- bytes that stay -------------------------------------------------------------------------------


def waiting_for_bytes(starved: float, *held: BitMap64) -> None:
    """Wait until they are gone; the time is over, but for what the host was starved."""
    parts = Parts()
    parts.dom0.patience = lambda step, **_: dataclasses.replace(
        Deadline.for_xen(0.0, step, lambda: starved), starved_before=0.0, hard_end=float("inf")
    )
    parts.oracle.holding.side_effect = held
    parts.oracle.frame_table.xen_heap.return_value = BitMap64()
    wait_gone(parts.oracle, parts.guests, parts.victim.guest, 0.0)


def test_bytes_that_stay_in_ram_are_residue() -> None:
    with pytest.raises(ResidueError, match="in 1 frames"):
        waiting_for_bytes(0.0, BitMap64([7]))


def test_bytes_may_stay_for_as_long_as_the_host_is_starved() -> None:
    waiting_for_bytes(50.0, BitMap64([7]), BitMap64([7]), BitMap64())


# -- two destroys at once --------------------------------------------------------------------------


def destroy_twice(*outcomes: object) -> Parts:
    parts = Parts()
    parts.dom0.watch = MagicMock()
    parts.dom0.watch.return_value.result.return_value = RECLAIM
    parts.toolstack.destroy = MagicMock(side_effect=outcomes)
    destroyed_twice(parts, pytest.MonkeyPatch())
    return parts


def test_one_of_two_destroys_may_be_refused() -> None:
    parts = destroy_twice(CommandError("no such domain"), RECLAIM)
    (recorded,) = parts.timings.record.call_args.args
    assert isinstance(recorded, Ended)
    assert recorded.reclaim.issued == RECLAIM.issued


def test_two_destroys_that_are_refused_are_a_failure() -> None:
    with pytest.raises(AssertionError, match="both were refused"):
        destroy_twice(CommandError("no"), CommandError("no"))


def test_a_host_that_is_lost_meanwhile_has_refused_nothing() -> None:
    with pytest.raises(HostLostError):
        destroy_twice(HostLostError("QEMU has ended"), HostLostError("QEMU has ended"))


def test_a_destroy_that_hangs_is_not_a_refused_one() -> None:
    with pytest.raises(XenHungError):
        destroy_twice(XenHungError("xl destroy hangs"), RECLAIM)


# -- a domain that stays ---------------------------------------------------------------------------


def test_a_domain_that_stays_is_xens_unless_the_host_was_starved() -> None:
    parts = Parts()
    parts.dom0.hang_seconds = 60.0
    parts.dom0.domains.return_value = [MagicMock(domid=5)]
    assert not test_dying.is_listed(parts.dom0, 6)
    assert test_dying.is_listed(parts.dom0, 5)
    parts = Parts(starved=WAITED)
    parts.dom0.hang_seconds = 60.0
    parts.dom0.domains.return_value = [MagicMock(domid=5)]
    assert not test_dying.is_listed(parts.dom0, 6)
    with pytest.raises(UndecidedError):
        test_dying.is_listed(parts.dom0, 5)


# -- dom0's disk is no part of Xen -----------------------------------------------------------------


def test_dom0s_disk_is_not_xen() -> None:
    parts = Parts()
    parts.toolstack.room_bytes = lets_it_pass
    with pytest.raises(DeadlineExceededError, match="room for a saved guest"):
        body(test_move.movable)(parts.victim, parts.toolstack, parts.guests)


def test_damaging_a_file_on_dom0s_disk_is_not_xen() -> None:
    parts = Parts()
    parts.toolstack = MagicMock(spec=ToolstackBase, saved="/var/saved")
    with pytest.raises(DeadlineExceededError, match="damaging"):
        test_move.test_damage_to_a_saved_guest_is_seen(parts.victim, parts.toolstack, parts.dom0)


def test_a_signal_that_is_not_sent_is_not_xen() -> None:
    parts = Parts()
    with pytest.raises(DeadlineExceededError, match="the device model of domain 5"):
        conftest.DeviceModel(5, parts.dom0)
