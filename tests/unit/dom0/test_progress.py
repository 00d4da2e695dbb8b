# SPDX-License-Identifier: MIT
"""A hang is no progress, whatever a guest's size: the agent on a clock that is simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from pytest_xenscrub.dom0.patience import what_stands_still
from pytest_xenscrub.dom0.sent.operations import Operations
from pytest_xenscrub.dom0.sent.progress import MOVED_BYTES, Clock, Stillness, io_bytes

GIB = 1 << 30
TIB = 1 << 40
PAGE = 4096
HANG = 60.0
ALL_DAY = 86400.0


class Host:
    """A host on which a guest of 1 TiB dies; time passes while somebody sleeps.

    Attributes:
        now: dom0's clock, s.
        rate: at which its memory comes free, bytes/s.
        stops: how much comes free before no page does any more, bytes.
        backlog_rate: at which pages are scrubbed after that, pages/s.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.rate = 1.0 * GIB
        self.stops = float(TIB)
        self.backlog = 0.0
        self.backlog_rate = 0.0
        self.starved_share = 0.0
        self.ring, self.dumps = "", 0
        self.operations = Operations(self)

    def sleep(self, _: float) -> None:
        self.now += 1.0
        self.operations.do_starved(self.starved_share)
        if self.freed >= TIB:
            self.backlog = max(0.0, self.backlog - self.backlog_rate)

    @property
    def freed(self) -> int:
        return int(min(self.stops, self.now * self.rate))

    def domain_getinfo(self, first: int, most: int) -> list[dict[str, Any]]:
        dom0 = self._info(0, GIB, dying=0)
        left = TIB - self.freed
        victim = [self._info(5, left, dying=int(self.now > 0))] if left else []
        return [dom0, *victim] if most > 1 else victim

    def _info(self, domid: int, memory: int, *, dying: int) -> dict[str, Any]:
        return {"domid": domid, "handle": [domid], "mem_kb": memory >> 10, "dying": dying,
                "shutdown": 0, "crashed": 0}  # fmt: skip

    def physinfo(self) -> dict[str, Any]:
        return {"free_memory": (GIB + self.freed) >> 10}

    def readconsolering(self) -> str:
        return self.ring[-20000:]

    def send_debug_keys(self, key: str) -> None:
        self.dumps += 1
        self.ring = f"{self.ring[-20000:]}'{key}' pressed -> dumping (now = {self.dumps})\n"
        self.ring += f"Node 0 has {int(self.backlog)} unscrubbed pages\n"

    def destroy(self, until: str = "free") -> Any:
        self.now = 0.0
        return self.operations.do_reclaim(
            5, None, ALL_DAY, until, lambda: None, hang=HANG, may_stay_alive=False
        )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr("pytest_xenscrub.dom0.sent.progress.time.monotonic", lambda: host.now)
    monkeypatch.setattr("pytest_xenscrub.dom0.sent.operations.time.sleep", host.sleep)
    return host


def test_a_destroy_of_1_tib_at_1_gib_a_second_is_no_hang(host: Host) -> None:
    end = host.destroy()
    assert end["still"] is None
    assert end["free"] - end["issued"] == pytest.approx(1024, abs=2)


def test_a_destroy_that_is_slow_all_the_way_is_no_hang(host: Host) -> None:
    host.rate = 64 << 20
    end = host.destroy()
    assert end["still"] is None
    assert end["free"] > 4 * 3600


def test_a_destroy_that_stops_half_way_is_told_60_s_later_with_how_far_it_came(host: Host) -> None:
    host.stops = 123.0 * GIB
    end = host.destroy()
    assert host.now == pytest.approx(123 + HANG, abs=2)
    assert end["gone"] is end["free"] is None
    assert what_stands_still(end["still"]) == (
        "no page came free for 60 s; 123.00 GiB of 1024.00 GiB were free then"
    )


def test_a_destroy_on_a_starved_host_gets_the_time_that_it_was_kept(host: Host) -> None:
    host.stops = 123.0 * GIB
    host.starved_share = 0.5
    still = host.destroy()["still"]
    assert host.now == pytest.approx(123 + 2 * HANG, abs=2)
    assert still["starved"] == pytest.approx(HANG, abs=2)
    assert still["seconds"] == pytest.approx(2 * HANG, abs=2)


def test_a_backlog_that_falls_is_no_hang_and_one_that_stays_is(host: Host) -> None:
    host.backlog, host.backlog_rate = 300_000.0, 1000.0
    end = host.destroy("clean")
    assert end["still"] is None
    assert end["clean"] - end["free"] == pytest.approx(300, abs=5)
    host.backlog, host.backlog_rate = 256.0, 0.0
    end = host.destroy("clean")
    assert end["clean"] is None
    assert what_stands_still(end["still"]) == (
        "no page was scrubbed for 60 s; 1 MiB are left to scrub"
    )


def test_memory_that_another_domain_took_meanwhile_is_no_hang(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(host, "physinfo", lambda: {
        "free_memory": (GIB + host.freed - (64 << 20 if host.now > 10 else 0)) >> 10,
    })  # fmt: skip
    monkeypatch.setattr(
        host.operations, "memory_of_others", lambda _: [[0, GIB], [6, int(host.now > 10)], *taken]
    )
    end = host.destroy()
    assert (end["still"], end["free"]) == (None, None)
    assert host.now == pytest.approx(1024 + HANG, abs=2)


def test_lost_memory_is_a_hang(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = 64 << 20
    monkeypatch.setattr(host, "physinfo", lambda: {
        "free_memory": (GIB + host.freed - (lost if host.now > 10 else 0)) >> 10,
    })  # fmt: skip
    still = host.destroy()["still"]
    assert what_stands_still(still).startswith("no page came free for 60 s; 1023.94 GiB of")


def test_a_living_domain_does_not_hang_while_the_caller_judges_it(host: Host) -> None:
    host.stops, host.rate = 0.0, 0.0
    info = host.domain_getinfo(5, 1)[0]
    host._info = lambda *_, **__: info  # type: ignore[method-assign]
    arguments = (5, None, 4 * HANG, "gone", lambda: None)
    assert host.operations.do_reclaim(*arguments, hang=HANG, may_stay_alive=True)["still"] is None
    still = host.operations.do_reclaim(*arguments, hang=HANG, may_stay_alive=False)["still"]
    assert what_stands_still(still) == "nothing happened to the domain for 60 s"


# -- what moves --------------------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> tuple[Stillness, list[float]]:
    now = [0.0]
    monkeypatch.setattr("pytest_xenscrub.dom0.sent.progress.time.monotonic", lambda: now[0])
    return Stillness(Clock()), now


def test_free_memory_that_flickers_does_not_move(still: tuple[Stillness, list[float]]) -> None:
    stillness, now = still
    for now[0] in range(100):
        stillness.rises("free", GIB + PAGE * (int(now[0]) % 5))
    assert stillness.seconds() == 99


def test_free_memory_moves_by_what_it_rises_above_its_least(
    still: tuple[Stillness, list[float]],
) -> None:
    stillness, now = still
    for now[0], free in enumerate((GIB, GIB // 2, GIB // 2 + MOVED_BYTES)):
        stillness.rises("free", free)
    assert stillness.seconds() == 0


def test_what_falls_moves_and_what_grows_does_not(still: tuple[Stillness, list[float]]) -> None:
    stillness, now = still
    for now[0], pages in enumerate((5, 9, 9, 8, 8)):
        stillness.falls("backlog", pages)
    assert stillness.seconds() == 1


def test_the_daemons_of_a_session_count_with_what_they_read_and_write() -> None:
    script = "import sys; open('/dev/null','wb').write(bytes(4 << 20)); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", f"print(1, flush=True); {script}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    while io_bytes(child.pid) < 4 << 20:
        assert child.poll() is None
    child.communicate()
    assert io_bytes(child.pid) == 0
    assert io_bytes(os.getpid() + 10**7) == io_bytes(None)
