# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

from pytest_xenscrub.host.sampling import CpuState, Sample, Samples
from pytest_xenscrub.host.symbols import Symbols
from pytest_xenscrub.scrub.profile import Part, profile_from, profile_of

SYMBOLS = Symbols([(0xFFFF82D040200000, "put_page"), (0xFFFF82D040200100, "_etext")], "xen-syms")
PUT_PAGE = 0xFFFF82D040200010
NO_FUNCTION = 0xFFFF82D07FFFF000
LINUX = 0xFFFFFFFF81E0E3A0
MODULE = 0xFFFFFFFFC0301000
OUR_KERNEL = 0xFFFFFFFF80001234
PYTHON = 0x000055AA12345678


def cpu(number: int, address: int | None, *, halted: bool = False) -> CpuState:
    return CpuState(number, address, 0 if halted else 3, halted=halted)


def samples(*seen: tuple[float, int | None, int | None], symbols: Symbols = SYMBOLS) -> Samples:
    taken = tuple(Sample(at, (cpu(0, a), cpu(1, b))) for at, a, b in seen)
    return Samples(taken, seconds=2.0, stopped_seconds=0.25, symbols=symbols)


def test_who_an_address_belongs_to() -> None:
    seen = samples(
        (0.1, PUT_PAGE, NO_FUNCTION), (0.2, LINUX, MODULE), (0.3, OUR_KERNEL, PYTHON),
        (0.4, None, PUT_PAGE),
    )  # fmt: skip
    assert profile_of(seen, 1.5).destroy == Part(
        1.5,
        4,
        {
            "Xen;put_page": 2, "Xen;(no symbol)": 1, "dom0 kernel": 2, "guests": 1,
            "dom0 user space": 1, "idle": 1,
        },
    )  # fmt: skip


def test_a_cpu_that_waits_is_idle_wherever_it_waits() -> None:
    seen = Samples((Sample(0.0, (cpu(0, PUT_PAGE, halted=True),)),), 1.0, 0.0, SYMBOLS)
    assert profile_of(seen, 1.0).destroy.stacks == {"idle": 1}


def test_what_came_after_the_return_is_apart() -> None:
    profile = profile_of(samples((0.0, PUT_PAGE, LINUX), (0.5, LINUX, LINUX)), 0.5)
    assert profile.destroy == Part(0.5, 1, {"Xen;put_page": 1, "dom0 kernel": 1})
    assert profile.after == Part(1.5, 1, {"dom0 kernel": 2})
    assert (profile.symbols, profile.stopped_seconds) == ("xen-syms", 0.25)


def test_a_guest_that_ended_itself_has_nothing_before_a_return() -> None:
    profile = profile_of(samples((0.0, PUT_PAGE, LINUX)), None)
    assert profile.destroy == Part(0.0, 0, {})
    assert profile.after.samples == 1


def test_cpu_seconds_are_of_all_cpus_together() -> None:
    part = profile_of(samples((0.0, PUT_PAGE, PUT_PAGE), (0.5, PUT_PAGE, LINUX)), 1.0).destroy
    assert part.cpu_seconds("Xen;put_page") == 1.5
    assert part.cpu_seconds("guests") == 0.0
    assert Part(1.0, 0, {}).cpu_seconds("idle") == 0.0


def test_without_symbols_that_is_said() -> None:
    profile = profile_of(samples((0.0, PUT_PAGE, LINUX), symbols=Symbols()), 1.0)
    assert profile.symbols == ""
    assert profile.destroy.stacks == {"Xen;(no symbol)": 1, "dom0 kernel": 1}


def test_there_and_back_again() -> None:
    profile = profile_of(samples((0.0, PUT_PAGE, LINUX), (0.9, None, LINUX)), 0.5)
    assert profile_from(json.loads(json.dumps(profile.as_dict()))) == profile
