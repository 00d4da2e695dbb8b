# SPDX-License-Identifier: MIT
"""What is shown of a serial log."""

from __future__ import annotations

from pytest_xenscrub.dom0.serial import telling

BOOT = [f"(XEN) boot line {number}" for number in range(300)]
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
STACK = [f"[  10.{number:06}]  ? frame_{number}" for number in range(30)]
XENS_WORD = "(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds."


def shown(*said: str, lines: int = 3) -> list[str]:
    return telling("\n".join(said), lines).splitlines()


def test_the_last_lines_without_our_own_heap_dumps() -> None:
    dump = ["(XEN) 'H' pressed -> dumping heap info", "(XEN) heap[node=0][zone=20] -> 5 pages"]
    assert shown(*BOOT, *dump) == BOOT[-3:]
    assert shown("one") == ["one"]
    assert shown() == []


def test_a_machine_that_has_booted_again_is_told_with_what_it_crashed_of() -> None:
    crash = ["before", PANIC, *STACK, XENS_WORD]
    assert shown(*BOOT, *crash, *BOOT) == [
        "[its last crash:]",
        *BOOT[-7:], "before", PANIC, *STACK[:3], "[...]", XENS_WORD,
        "[its last lines:]", *BOOT[-3:],
    ]  # fmt: skip


def test_of_several_crashes_the_last_one_is_told() -> None:
    told = shown(*BOOT, "(XEN) Panic on CPU 0:", *BOOT, "alas", "(XEN) Panic on CPU 1:", *BOOT)
    assert "(XEN) Panic on CPU 0:" not in told
    assert told[8:10] == ["alas", "(XEN) Panic on CPU 1:"]
    assert "[...]" not in told


def test_a_crash_that_is_among_the_last_lines_is_told_once() -> None:
    assert shown(*BOOT, PANIC, "end") == [BOOT[-1], PANIC, "end"]
