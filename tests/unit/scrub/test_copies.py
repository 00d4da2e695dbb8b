# SPDX-License-Identifier: MIT
"""Copies of a guest's bytes and their owners; dom0 is a script."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.scrub import copies
from pytest_xenscrub.scrub.copies import Copy, describe, find_copies

RUN = 0x12AB34


def find(words: dict[int, int], script: str) -> list[Copy]:
    """What is found where a guest's words are in these frames, and dom0 answers so."""
    pipe = subprocess.PIPE
    host = SimpleNamespace(
        name="emulated",
        popen=lambda _: subprocess.Popen(
            ["sh", "-c", script], stdin=pipe, stdout=pipe, stderr=pipe
        ),
    )
    dom0 = SimpleNamespace(host=host, domains=lambda: [SimpleNamespace(domid=0)])
    living = SimpleNamespace(domid=3, name="probe-2", ended=False)
    dead = SimpleNamespace(domid=4, name="probe-1", ended=True)
    guests: Any = SimpleNamespace(run=RUN, dom0=dom0, guests={1: dead, 2: living})
    oracle: Any = SimpleNamespace(
        search=lambda run, guest: words if (run, guest) == (RUN, 9) else {},
        frame_table=SimpleNamespace(xen_heap=lambda frames: frames & BitMap64([20])),
    )
    victim: Any = SimpleNamespace(number=9)
    return find_copies(oracle, guests, victim)


def test_each_copy_is_told_with_its_owner() -> None:
    answer = """cat > /dev/null; echo '{"16": 0, "17": 3, "18": 4}'"""
    found = find({16: 256, 17: 3, 18: 1, 19: 2, 20: 5}, answer)
    assert [str(copy) for copy in found] == [
        "MFN 0x10: 256 words, dom0, domain 0",
        "MFN 0x11: 3 words, probe-2, domain 3",
        "MFN 0x12: 1 words, of a guest that is not ours, domain 4",
        "MFN 0x13: 2 words, no domain's: free, or Xen's own",
        "MFN 0x14: 5 words, Xen's heap",
    ]
    assert [copy.kept for copy in found] == [False, False, False, False, True]


def test_without_copies_dom0_is_not_asked() -> None:
    assert find({}, "exit 1") == []


def test_a_dom0_that_does_not_tell_is_an_error_and_no_guess() -> None:
    with pytest.raises(InfrastructureError, match="does not tell whose") as caught:
        find({16: 256}, "cat > /dev/null; echo 'no such library' >&2; exit 1")
    assert "no such library" in str(caught.value)


def test_only_some_of_very_many_are_shown() -> None:
    text = describe([Copy(mfn, 256, "dom0") for mfn in range(20)])
    assert text.startswith("its bytes are in 20 frames:")
    assert text.endswith("and 12 more")


def test_a_dom0_that_does_not_tell_in_time_is_an_error_and_no_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copies, "_ASK_SECONDS", 0.2)
    with pytest.raises(InfrastructureError, match=r"does not tell whose .* within 0.2 s"):
        find({16: 256}, "exec sleep 60")
