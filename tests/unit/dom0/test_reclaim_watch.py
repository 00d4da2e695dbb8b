# SPDX-License-Identifier: MIT
"""Sampling is rationed: on a clock that moves only when somebody looks."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_xenscrub.dom0.sent.reclaim_watch import BACKLOG_SHARE, BACKLOG_SHARE_AFTER, Watch

GIB = 1 << 30
DOMAIN: dict[str, Any] = {
    "handle": [1], "mem_kb": GIB >> 10, "dying": 0, "shutdown": 0, "crashed": 0,
}  # fmt: skip


class Scene:
    """A domain that dies at `dies`, whose memory is back then, and whose backlog ends later.

    Args:
        look_seconds: what a look at the backlog takes.
    """

    def __init__(self, look_seconds: float, dies: float = 1.0, scrubbed: float = 2.0) -> None:
        self.now = 0.0
        self.look_seconds = look_seconds
        self.dies = dies
        self.scrubbed = scrubbed

    def domain(self) -> dict[str, Any] | None:
        return DOMAIN if self.now < self.dies else None

    def free(self) -> int:
        return 2 * GIB if self.now < self.dies else 3 * GIB

    def backlog(self) -> int:
        self.now += self.look_seconds
        return 1000 if self.dies <= self.now < self.scrubbed else 0

    def watch(self, until: str = "clean") -> Watch:
        watch = Watch(
            self.domain, self.free, self.backlog, info=DOMAIN, running=lambda: False, until=until
        )
        while not watch.look():
            self.now += 0.01
            assert self.now < 100
        return watch


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(0.005)
    monkeypatch.setattr("pytest_xenscrub.dom0.sent.reclaim_watch.time.monotonic", lambda: scene.now)
    return scene


def looks_between(watch: Watch, begin: float, end: float) -> int:
    return sum(begin < at <= end for at, _ in watch.backlog)


def test_moments(scene: Scene) -> None:
    watch = scene.watch()
    moments = watch.moments
    assert moments["issued"] == 0.005  # the first look at the backlog was before that
    assert moments["gone"] == moments["free"] == pytest.approx(1.0, abs=0.011)
    assert moments["clean"] == pytest.approx(2.0, abs=0.005 / BACKLOG_SHARE_AFTER + 0.011)
    assert watch.backlog[0] == [0.005, 0]
    assert watch.backlog[-1] == [moments["clean"], 0]


@pytest.mark.parametrize("look_seconds", [0.005, 0.02])
def test_looks_at_the_backlog_take_no_more_than_their_share(
    scene: Scene, look_seconds: float
) -> None:
    scene.look_seconds = look_seconds
    watch = scene.watch()
    while_dying = looks_between(watch, 0.005, 0.99) * look_seconds
    after = looks_between(watch, 1.0 + look_seconds + 0.01, 2.0) * look_seconds
    assert 0 < while_dying <= BACKLOG_SHARE + 0.001
    assert BACKLOG_SHARE < after <= BACKLOG_SHARE_AFTER + 0.001


def test_a_slow_console_is_left_alone(scene: Scene) -> None:
    scene.look_seconds = 0.2
    scene.scrubbed = 1.1
    watch = scene.watch()
    # Before, and once all memory is back: nothing in between that would delay "gone" and "free".
    assert len(watch.backlog) == 2
    assert watch.moments["free"] == pytest.approx(1.0, abs=0.011)


def test_a_backlog_of_0_is_not_clean_before_the_memory_is_back(scene: Scene) -> None:
    scene.scrubbed = 0.0
    moments = scene.watch().moments
    assert moments["clean"] is not None
    assert moments["free"] is not None
    assert moments["free"] < moments["clean"] < 1.1


@pytest.mark.parametrize("until", ["gone", "free"])
def test_whoever_does_not_wait_for_the_backlog_gets_what_was_seen_of_it(
    scene: Scene, until: str
) -> None:
    watch = scene.watch(until)
    assert watch.moments["clean"] is None
    assert looks_between(watch, 0.005, 1.0) == 3
