# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from pytest_xenscrub.hypervisor.build_errors import machine_fault, telling_lines

NOISE = "".join(f"  CC      common/{n}.o\nld: NOTE: This behaviour is old\n" for n in range(50))


def test_errors_of_a_parallel_build_come_first() -> None:
    output = (
        "*** Default configuration is based on 'x86_64_defconfig'\n"
        f"{NOISE}make[2]: *** [Rules.mk:1: common/a.o] Error 1\n"
        "common/a.c: In function 'f':\ncommon/a.c:12:5: error: 'x' undeclared (first use)\n"
        f"   12 |     x = 1;\n{NOISE}make[2]: *** Waiting for unfinished jobs....\n"
        f"common/b.c:7:1: error: expected ';'\ncommon/b.c:7:1: error: expected ';'\n{NOISE}"
        "make: *** [Makefile:9: build] Error 2\n"
    )
    assert telling_lines(output).splitlines() == [
        "common/a.c:12:5: error: 'x' undeclared (first use)",
        "common/b.c:7:1: error: expected ';'",
        "make[2]: *** [Rules.mk:1: common/a.o] Error 1",
        "make: *** [Makefile:9: build] Error 2",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "common/a.c:3:10: fatal error: xen/nonesuch.h: No such file or directory",
        "arch/x86/entry.S:12: Error: no such instruction: `foo'",
        "ld: common/a.o: in function `f': undefined reference to `g'",
        "common/a.c:12: undefined reference to `g'",
        "ld: common/b.o: multiple definition of `f'; common/a.o: first defined here",
        "ld:arch/x86/xen.lds:12: syntax error",
        "common/Kconfig:12: syntax error",
        "common/Kconfig:3:error: recursive dependency detected!",
        "SyntaxError: Missing parentheses",
        "make[1]: *** No rule to make target 'common/a.c', needed by 'common/a.o'.  Stop.",
        "/bin/sh: 1: checkpolicy: not found",
        "cc1: error: unrecognized command-line option '-fx'",
        'minus: parse error: \n',
        "Fatal error: exception Failure(\"x\")",
    ],
)  # fmt: skip
def test_each_kind_of_error_is_found(line: str) -> None:
    assert telling_lines(f"{NOISE}{line}\n{NOISE}") == line.rstrip("\n")


def test_many_errors_are_counted_and_none_shows_the_end() -> None:
    many = "".join(f"a.c:{n}:1: error: x{n}\n" for n in range(20))
    assert telling_lines(many).splitlines()[-1] == "... 8 more"
    assert telling_lines("just\nlines") == "just\nlines"


def test_machine_that_failed_is_not_the_patch() -> None:
    line = "gcc: fatal error: Killed signal terminated program cc1"
    assert machine_fault(f"{NOISE}{line}\n") == line
    assert machine_fault("a.c:1:1: error: x\n") == ""
