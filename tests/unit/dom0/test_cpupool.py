# SPDX-License-Identifier: MIT
"""What xl is told of a CPU pool, and that no CPU is lost with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import TimedResult
from pytest_xenscrub.dom0.cpupool import CpuPool
from pytest_xenscrub.errors import CommandError, XenFaultError, XenHungError

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTED = """\
Name               CPUs   Sched     Active   Domain count
xs-12-pool           2    credit      y          {}
"""


class FakeDom0:
    host = SimpleNamespace(name="lab7")

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails = "nothing"
        self.stdout = LISTED.format(1)

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        self.ran.append(" ".join(argv[1:]))
        failed = self.fails in argv[1]
        return TimedResult(tuple(argv), int(failed), self.stdout, "no", 1.0, 2.0)

    def patience(self, step: str) -> Deadline:
        return Deadline.for_xen(60, step, lambda: 0.0)

    def evidence(self) -> dict[str, str]:
        return {"Xen's log": "(XEN) last words"}


def made(dom0: FakeDom0) -> CpuPool:
    some: Any = dom0
    return CpuPool(some, "xs-12-pool", "credit", [1, 2])


def test_a_pool_from_its_making_to_its_end() -> None:
    dom0 = FakeDom0()
    pool = made(dom0)
    pool.take_in(7)
    pool.close()
    pool.close()
    assert dom0.ran == [
        "cpupool-cpu-remove Pool-0 1",
        "cpupool-cpu-remove Pool-0 2",
        'cpupool-create name="xs-12-pool" sched="credit" cpus=["1", "2"]',
        "cpupool-migrate 7 xs-12-pool",
        "cpupool-destroy xs-12-pool",
        "cpupool-cpu-add Pool-0 2",
        "cpupool-cpu-add Pool-0 1",
    ]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_its_domains(count: int) -> None:
    dom0 = FakeDom0()
    dom0.stdout = LISTED.format(count)
    assert made(dom0).domains() == count


def test_a_list_without_it_is_no_pool_without_domains() -> None:
    dom0 = FakeDom0()
    dom0.stdout = "Name               CPUs   Sched     Active   Domain count\n"
    with pytest.raises(CommandError, match="does not tell"):
        made(dom0).domains()


def test_cpus_of_a_pool_that_is_not_made_are_given_back() -> None:
    dom0 = FakeDom0()
    dom0.fails = "cpupool-create"
    with pytest.raises(CommandError, match="cpupool-create"):
        made(dom0)
    assert dom0.ran[-2:] == ["cpupool-cpu-add Pool-0 2", "cpupool-cpu-add Pool-0 1"]


def test_a_pool_that_stays_is_xens_fault() -> None:
    dom0 = FakeDom0()
    pool = made(dom0)
    dom0.fails = "cpupool-destroy"
    with pytest.raises(XenFaultError, match="cannot be destroyed") as caught:
        pool.close()
    assert "last words" in str(caught.value)


def test_an_xl_that_hangs_is_xens(monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = FakeDom0()
    pool = made(dom0)

    def hangs(*_: object, deadline: Deadline) -> TimedResult:
        assert deadline.blames_xen
        raise deadline.error()

    monkeypatch.setattr(dom0, "run", hangs)
    with pytest.raises(XenHungError, match="xl cpupool-migrate"):
        pool.take_in(7)
