# SPDX-License-Identifier: MIT
"""Places of labgrid's: its program is faked here, and the real one's in tests/lab."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.contract import SERVICE, TAG, LabgridContract
from fakelabgrid.fake import FakeLab, call, holder
from pytest_xenscrub.errors import (
    ConfigurationError,
    InfrastructureError,
    MissingToolError,
)
from pytest_xenscrub.host import labgrid, labgrid_owner
from pytest_xenscrub.host.description import HostDescription, make_pool, parse_host
from pytest_xenscrub.host.labgrid import Labgrid
from pytest_xenscrub.host.power import SerialLog
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.host.labgrid_place import LabgridPlace


@pytest.fixture
def lab(tmp_path: Path) -> FakeLab:
    return FakeLab(tmp_path / "labgrid")


@pytest.fixture
def power_port() -> int:
    return 1


class TestFake(LabgridContract):
    """As the real one's."""

    def test_its_serial_console(
        self,
        lab: FakeLab,
        place: Callable[..., LabgridPlace],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lab.add("lab9", {}, {"NetworkService": SERVICE, "NetworkSerialPort": {"host": "x"}})
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        said: list[str] = []
        without = place("labgrid:lab9", say=said.append)
        if without.take(0).serial == ():
            assert "lab9: its serial console is not read, as labgrid needs microcom" in said[-1]
        without.leave()
        (tmp_path / "microcom").touch(mode=0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        taken = place("labgrid:lab9")
        log = SerialLog(taken.take(0).serial, "lab9")
        end = time.monotonic() + 20
        while "(XEN) the console speaks" not in log.tail(5):
            assert time.monotonic() < end, log.tail(5)
            time.sleep(0.1)
        taken.leave()
        with pytest.raises(InfrastructureError):
            log.read()

    def test_the_users_own_commands_come_first(
        self, place: Callable[..., LabgridPlace], tmp_path: Path
    ) -> None:
        (host,) = make_pool([parse_host("labgrid:lab7")], [])
        assert not host.emulated
        taken = place("labgrid:lab7")
        taken._described = type(host)(
            host.name, power=("bmc", "{action}"), serial=("log",), place=host.place
        )
        described = taken.take(0)
        assert (described.power, described.serial) == (("bmc", "{action}"), ("log",))
        taken.leave()

    def test_a_place_that_the_hosts_file_has_out_of_use(
        self, lab: FakeLab, place: Callable[..., LabgridPlace]
    ) -> None:
        broken = HostDescription("lab7", Target("lab7"), broken="its fan is dead")
        with pytest.raises(InfrastructureError, match="lab7 is out of use: its fan is dead"):
            place(listed=[broken]).take(0)
        assert holder(lab, "lab7") == ""

    def test_labgrid_does_not_take_a_place_back(
        self, lab: FakeLab, place: Callable[..., LabgridPlace], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(labgrid_owner, "_AT_THE_END", "cat >/dev/null; echo no; exit 1")
        taken = place(say=said.append)
        taken.take(0)
        taken.leave()
        assert "labgrid did not take lab7 back" in said[-1]
        assert f"-p lab7 release-from vm/alice.{TAG}" in said[-1]
        monkeypatch.undo()

    def test_a_place_that_others_take_between_turn_and_acquiring(
        self, lab: FakeLab, place: Callable[..., LabgridPlace], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Labgrid.run

        def late(self: Labgrid, step: str, *words: str, seconds: float = 60.0) -> str:
            if words[-1] == "acquire":
                state = lab.state
                state["places"]["lab7"]["acquired"] = "vm/bob"
                lab._state.write_text(json.dumps(state))
            return run(self, step, *words, seconds=seconds)

        monkeypatch.setattr(Labgrid, "run", late)
        with pytest.raises(InfrastructureError, match="acquiring lab7") as caught:
            place().take(0)
        assert "already acquired by vm/bob" in str(caught.value)
        assert holder(lab, "lab7") == "vm/bob"
        assert lab.state["turns"] == {}

    def test_a_run_that_is_interrupted_while_it_acquires_gives_the_place_back(
        self, lab: FakeLab, place: Callable[..., LabgridPlace], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Labgrid.run

        def interrupted(self: Labgrid, step: str, *words: str, seconds: float = 60.0) -> str:
            done = run(self, step, *words, seconds=seconds)
            if words[-1] == "acquire":
                raise KeyboardInterrupt
            return done

        monkeypatch.setattr(Labgrid, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            place().take(0)
        assert holder(lab, "lab7") == ""
        assert lab.state["turns"] == {}

    def test_a_turn_that_is_gone(self, lab: FakeLab, place: Callable[..., LabgridPlace]) -> None:
        call(lab, "bob", "-p", "lab7", "acquire")
        waiting = place()
        with pytest.raises(InfrastructureError):
            waiting.take(0)
        for token in lab.state["turns"]:
            call(lab, "bob", "cancel-reservation", token)
        with pytest.raises(InfrastructureError, match="waiting for a place"):
            waiting.take(3)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="is not installed") as caught:
        Labgrid(str(tmp_path / "labgrid-client"), TAG)
    assert "pipx install labgrid" in caught.value.todo
    assert "--xen-labgrid-client" in caught.value.todo


@pytest.mark.parametrize("text", ["", "Traceback", "  token: A\n  state: allocated\n"])
def test_a_reservation_in_words_that_are_not_known(text: str) -> None:
    with pytest.raises(InfrastructureError, match="in words that are not known"):
        labgrid._reserved(text)


def test_places_in_words_that_are_not_known(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Place 'a':\n  tags: b=c\n"
    monkeypatch.setattr(Labgrid, "run", lambda *_, **__: said)
    with pytest.raises(InfrastructureError, match="not known") as caught:
        Labgrid(lab.program, TAG).places()
    assert "tags: b=c" in str(caught.value)
    said = "Acquired resource 'x' (a/b/c/x):\n  {'cls': Odd}\n"
    with pytest.raises(InfrastructureError, match="not known"):
        Labgrid(lab.program, TAG).resources("a")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("lab7", ("name=lab7",)),
        ("xen=yes", ("xen=yes",)),
        ("xen=yes,cpu=amd-zen4", ("xen=yes", "cpu=amd-zen4")),
    ],
)
def test_what_names_a_place(text: str, place: tuple[str, ...]) -> None:
    host = parse_host(f"labgrid:{text}")
    assert host.place == place
    assert host.many == (text != "lab7")
    assert not host.emulated
    assert host.lacks(frozenset({"numa"})) == frozenset()


@pytest.mark.parametrize("text", ["", "a b", "xen=", "=yes", "xen=yes,", "-p", "Xen=yes", "a=b=c"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no place"):
        parse_host(f"labgrid:{text}")


def test_places_in_a_pool() -> None:
    several = [parse_host("labgrid:lab7"), parse_host("labgrid:xen=yes"), parse_host("lab8")]
    assert make_pool(several, []) == tuple(several)
    with pytest.raises(ConfigurationError, match="labgrid:lab7 is named twice"):
        make_pool([several[0]] * 2, [])
    with pytest.raises(ConfigurationError, match="cannot be one of several"):
        make_pool([several[0], parse_host("emulated")], [])
