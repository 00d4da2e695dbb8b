# SPDX-License-Identifier: MIT
"""What xen-hptool is told, and what its answers are taken for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import TimedResult
from pytest_xenscrub.dom0.hotplug import Hotplug
from pytest_xenscrub.errors import CommandError, MissingToolError, XenFaultError, XenHungError

if TYPE_CHECKING:
    from collections.abc import Sequence

ONLINE = "Memory Status 0: [ PAGE_ONLINED ]\n"
OFFLINE = "Memory Status 2: [ PAGE_OFFLINED ]\n"
PENDING = "Memory Status 4: [ PAGE_OFFLINE_PENDING  PAGE_ONLINED ]\n"


class FakeDom0:
    host = SimpleNamespace(name="lab7")

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.fails = ""
        self.stdout = ""

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        assert argv[:2] == ["sh", "-c"]
        self.scripts.append(argv[2])
        failed = bool(self.fails) and self.fails in argv[2]
        return TimedResult(tuple(argv), int(failed), self.stdout, "no", 1.0, 2.0)

    def patience(self, step: str) -> Deadline:
        return Deadline.after(60, step)

    def evidence(self) -> dict[str, str]:
        return {"Xen's log": "(XEN) last words"}


@pytest.fixture
def dom0() -> FakeDom0:
    return FakeDom0()


@pytest.fixture
def hotplug(dom0: FakeDom0) -> Hotplug:
    made = Hotplug(dom0)  # type: ignore[arg-type]  # as much of one as it needs
    dom0.scripts.clear()
    return made


def test_a_dom0_without_the_tool(dom0: FakeDom0) -> None:
    dom0.fails = "command -v"
    with pytest.raises(MissingToolError, match="dom0 has no xen-hptool"):
        Hotplug(dom0)  # type: ignore[arg-type]  # as above


def test_a_cpu_that_is_left_away_is_given_back(hotplug: Hotplug, dom0: FakeDom0) -> None:
    hotplug.offline_cpu(3)
    hotplug.offline_cpu(2)
    hotplug.online_cpu(3)
    hotplug.close()
    hotplug.close()
    assert [script.removeprefix("xen-hptool cpu-") for script in dom0.scripts] == [
        "offline 3",
        "offline 2",
        "online 3",
        "online 2",
    ]


def test_a_cpu_that_does_not_go_is_xens_fault(hotplug: Hotplug, dom0: FakeDom0) -> None:
    dom0.fails = "cpu-offline"
    with pytest.raises(XenFaultError, match="lab7: CPU 1 does not go offline") as caught:
        hotplug.offline_cpu(1)
    hotplug._cpus.clear()
    assert "last words" in str(caught.value)


def test_pages_are_named_in_hex_and_given_back(hotplug: Hotplug, dom0: FakeDom0) -> None:
    hotplug.offline_pages([0x3FFFF, 0x10])
    hotplug.online_pages([0x10])
    hotplug.close()
    assert [script.split(";")[0] for script in dom0.scripts] == [
        "for mfn in 3ffff 10",
        "for mfn in 10",
        "for mfn in 3ffff",
    ]


def test_only_a_page_without_an_owner_is_offline(hotplug: Hotplug, dom0: FakeDom0) -> None:
    dom0.stdout = ONLINE + OFFLINE + PENDING
    assert hotplug.offlined([1, 2, 3]) == {2}


def test_an_answer_for_some_pages_only_is_none(hotplug: Hotplug, dom0: FakeDom0) -> None:
    dom0.stdout = OFFLINE
    with pytest.raises(CommandError, match="reported 1 pages instead of 2"):
        hotplug.offlined([1, 2])


def test_an_hptool_that_hangs_is_xens(hotplug: Hotplug, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_: object, *, deadline: Deadline) -> NoReturn:
        raise deadline.error()

    def patience(step: str) -> Deadline:
        return Deadline.for_xen(0.0, step, lambda: 0.0)

    monkeypatch.setattr(hotplug._dom0, "patience", patience)
    monkeypatch.setattr(hotplug._dom0, "run", hangs)
    with pytest.raises(XenHungError, match="CPU 1 offline"):
        hotplug.offline_cpu(1)
    hotplug._cpus.clear()
