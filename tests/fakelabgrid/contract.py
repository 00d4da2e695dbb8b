# SPDX-License-Identifier: MIT
"""What a place of labgrid's does, whichever labgrid there is: a test class to be subclassed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.fake import call, holder
from pytest_xenscrub.errors import HostLockedError, InfrastructureError
from pytest_xenscrub.host.description import HostDescription, parse_host
from pytest_xenscrub.host.labgrid_place import LabgridPlace
from pytest_xenscrub.host.power import PowerSwitch
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fakelabgrid.fake import Lab

SERVICE = {"address": "127.0.0.1", "username": "root", "port": 2222}
TAG = "xenscrub-0000a1"
OTHER_TAG = "xenscrub-0000b2"
END_SECONDS = 30.0
TAKES = """
import os, signal, sys
from pytest_xenscrub.host.description import parse_host
from pytest_xenscrub.host.labgrid_place import LabgridPlace

program, tag, how = sys.argv[1:]
place = LabgridPlace(parse_host("labgrid:xen=yes"), listed=(), program=program, tag=tag, say=print)
print(place.take(0).name, flush=True)
if how == "all":
    os.kill(place._guard._process.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A run that takes a place and is killed: alone, or with the process that would give it back."""


def power_at(port: int) -> dict[str, str]:
    """A NetworkPowerPort on loopback."""
    return {
        "model": "simplerest", "host": f"http://127.0.0.1:{port}/power/{{index}}", "index": "1"
    }  # fmt: skip


def killed(lab: Lab, tag: str, how: str) -> str:
    """The place that such a run had."""
    command = [sys.executable, "-c", TAKES, lab.program, tag, how]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()[-1]


def freed(lab: Lab, place: str) -> None:
    """Wait until nobody has it."""
    end = time.monotonic() + END_SECONDS
    while who := holder(lab, place):
        assert time.monotonic() < end, who
        time.sleep(0.2)


class LabgridContract:
    """The tests; `lab` is a fixture of the subclass's module."""

    @pytest.fixture(autouse=True)
    def _as_alice(self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LG_COORDINATOR", lab.coordinator)
        monkeypatch.setenv("LG_HOSTNAME", "vm")
        monkeypatch.setenv("LG_USERNAME", "alice")
        monkeypatch.setenv("LG_PLACE", "none-of-ours")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        lab.add("lab7", {"xen": "yes", "numa": "2"}, {"NetworkService": SERVICE})

    @pytest.fixture
    def place(self, lab: Lab) -> Callable[..., LabgridPlace]:
        def make(
            text: str = "labgrid:xen=yes",
            *,
            tag: str = TAG,
            listed: Sequence[HostDescription] = (),
            say: Callable[[str], None] = print,
        ) -> LabgridPlace:
            return LabgridPlace(
                parse_host(text), listed=listed, program=lab.program, tag=tag, say=say
            )

        return make

    def test_a_place_is_a_host_until_it_is_given_back(
        self, lab: Lab, place: Callable[..., LabgridPlace]
    ) -> None:
        taken = place()
        host = taken.take(0)
        assert (host.name, host.target) == ("lab7", Target("127.0.0.1", "root", 2222))
        assert host.tags == {"name=lab7", "xen=yes", "xen", "numa=2"}
        assert (host.power, host.serial) == ((), ())
        assert holder(lab, "lab7") == f"vm/alice.{TAG}"
        taken.leave()
        assert not holder(lab, "lab7")
        # No turn is left that others would have to wait for.
        assert "acquired place" in call(lab, "bob", "-p", "lab7", "acquire")
        taken.leave()
        assert holder(lab, "lab7") == "vm/bob"

    def test_a_place_by_its_name(self, lab: Lab, place: Callable[..., LabgridPlace]) -> None:
        lab.add("lab8", {}, {"NetworkService": {"address": "::1", "username": "root"}})
        taken = place("labgrid:lab8")
        host = taken.take(0)
        assert (host.name, host.target) == ("lab8", Target("::1", "root"))
        assert not holder(lab, "lab7")
        taken.leave()

    def test_what_is_in_use_is_told_with_who_has_it(
        self, lab: Lab, place: Callable[..., LabgridPlace]
    ) -> None:
        call(lab, "bob", "-p", "lab7", "acquire")
        with pytest.raises(HostLockedError, match=r"in use: lab7 \(vm/bob, since 20") as caught:
            place().take(0)
        assert "--xen-lock-wait" in str(caught.value)
        assert holder(lab, "lab7") == "vm/bob"

    def test_a_turn_is_waited_for_and_kept(
        self, lab: Lab, place: Callable[..., LabgridPlace]
    ) -> None:
        call(lab, "bob", "-p", "lab7", "acquire")
        said: list[str] = []
        waiting, later = place(say=said.append), place(tag=OTHER_TAG)
        with pytest.raises(HostLockedError):
            waiting.take(1)
        assert said == [f"labgrid:xen=yes: {said[0].partition(': ')[2]}"]
        assert "waiting for lab7 (vm/bob, since " in said[0]
        with pytest.raises(HostLockedError):
            later.take(0)
        release = threading.Timer(2, call, (lab, "bob", "-p", "lab7", "release-from", "vm/bob"))
        release.start()
        assert waiting.take(60).name == "lab7"
        release.join()
        with pytest.raises(HostLockedError, match=f"lab7 .vm/alice.{TAG}, since"):
            later.take(0)
        later.leave()
        waiting.leave()
        assert not holder(lab, "lab7")

    def test_no_place_suits(self, place: Callable[..., LabgridPlace]) -> None:
        with pytest.raises(InfrastructureError, match="no place with arch=arm, xen=yes") as caught:
            place("labgrid:xen=yes,arch=arm").take(0)
        assert "numa=2, xen=yes" in str(caught.value)

    def test_a_place_that_does_not_say_where_it_is(
        self, lab: Lab, place: Callable[..., LabgridPlace], power_port: int
    ) -> None:
        lab.add("bare", {}, {"NetworkPowerPort": power_at(power_port)})
        with pytest.raises(InfrastructureError, match="bare has no NetworkService"):
            place("labgrid:bare").take(0)
        assert not holder(lab, "bare")
        known = HostDescription("bare", Target("bare.example.org", None, 22), tags=frozenset("x"))
        taken = place("labgrid:bare", listed=[known])
        host = taken.take(0)
        assert host.target == Target("bare.example.org", None, 22)
        assert host.tags == {"x", "name=bare"}
        assert host.power[-1] == "{action:status=get}"
        taken.leave()

    def test_the_power_of_a_place(
        self, lab: Lab, place: Callable[..., LabgridPlace], power_port: int
    ) -> None:
        port = power_at(power_port)
        lab.add("lab9", {}, {"NetworkService": SERVICE, "NetworkPowerPort": port})
        taken = place("labgrid:lab9")
        host = taken.take(0)
        switch = PowerSwitch(host.power, "lab9")
        assert "power for place lab9 is on" in switch.run("status")
        switch.run("off")
        taken.leave()
        with pytest.raises(InfrastructureError, match="returned 1"):
            switch.run("off")

    def test_a_killed_run_gives_its_place_back(self, lab: Lab) -> None:
        assert killed(lab, TAG, "run") == "lab7"
        freed(lab, "lab7")

    def test_the_next_run_gives_back_what_dead_ones_held_and_nothing_else(
        self, lab: Lab, place: Callable[..., LabgridPlace]
    ) -> None:
        assert killed(lab, OTHER_TAG, "all") == "lab7"
        assert holder(lab, "lab7") == f"vm/alice.{OTHER_TAG}"
        others = {
            "lab1": f"alice.{TAG.replace('a1', 'c3')}",  # no file tells whether it lives
            "lab2": f"bob.{OTHER_TAG}",
            "lab3": "alice",
        }
        for name, user in others.items():
            lab.add(name, {}, {})
            call(lab, user, "-p", name, "acquire")
        lab.add("lab4", {}, {"NetworkService": SERVICE})
        said: list[str] = []
        alive = place("labgrid:lab4", tag="xenscrub-0000d4", say=said.append)
        alive.take(0)
        taken = place()
        assert taken.take(0).name == "lab7"
        assert f"lab7 (vm/alice.{OTHER_TAG}, since " in said[0]
        assert "given back" in said[0]
        assert {name: holder(lab, name) for name in others} == {
            name: f"vm/{user}" for name, user in others.items()
        }
        assert holder(lab, "lab4") == "vm/alice.xenscrub-0000d4"
        for each in (taken, alive):
            each.leave()
        folder = os.environ["XDG_CACHE_HOME"] + "/pytest-xenscrub/labgrid"
        assert os.listdir(folder) == []  # noqa: PTH208 - as just said
