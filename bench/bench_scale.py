# SPDX-License-Identifier: MIT
"""What a guest of 1 TiB would cost us: its frames decoded, a probe's too, and the verdict.

Frames come in runs of 2 MiB, in an order that joins none: the longest list that a toolstack makes.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from _bench import Limit, report

WORK = """
import random, sys, time, zlib
from pytest_xenscrub.guest.console import LineDecoder
from pytest_xenscrub.guest.events import Ranges
from pytest_xenscrub.scrub.verdict import Verdict

CHUNK = 512  # pages
chunks = int(sys.argv[1]) >> 21
pages = chunks * CHUNK

def console(kinds, seed):
    order = list(range(chunks))
    random.Random(seed).shuffle(order)
    yield f"hello protocol=3 type=pv pages={pages} vcpus=1 run=1 guest=1 clean=0"
    if "clean" in kinds:
        yield (f"scanned pages={pages} clean={pages} residue=0 unjudged=0 pattern=0 other=0"
               " ns=1 vcpus=1")
    for kind in kinds:
        for at in range(0, chunks, 60):
            runs = ",".join(f"{2 * CHUNK * n:x}:{CHUNK:x}" for n in order[at : at + 60])
            yield f"range kind={kind} at={at * CHUNK} runs={runs}"
        yield f"ranges-end kind={kind} pages={pages}"

def lines(kinds, seed):
    for number, text in enumerate(console(kinds, seed)):
        body = f"{number} {text}".encode()
        yield b"$%s*%08x\\r\\n" % (body, zlib.crc32(body))

def peak():
    # Not getrusage(): its peak outlives exec, so it may be that of who started us.
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

def frames(kinds, seed):
    # In pieces, as a console hands them over; only what decodes them is timed.
    global seconds
    decoder, found = LineDecoder(), {}
    for line in lines(kinds, seed):
        begin = time.process_time()
        for event in decoder.feed(line):
            if isinstance(event, Ranges):
                found[event.kind] = event
        seconds += time.process_time() - begin
    return found

seconds = 0.0
before = peak()
victim = frames(["frames"], 1)
probe = frames(["frames", "clean"], 2)
begin = time.process_time()
verdict = Verdict(victim["frames"].frames, probe["clean"].frames, type(victim["frames"].frames)())
assert verdict.clean, verdict
str(verdict)
seconds += time.process_time() - begin
print(seconds, peak() - before)
"""
SIZES = {"64 GiB": 64 << 30, "256 GiB": 256 << 30, "1 TiB": 1 << 40}


@pytest.mark.parametrize("size", SIZES)
def test_scale(size: str) -> None:
    command = [sys.executable, "-c", WORK, str(SIZES[size])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = (float(word) for word in done.stdout.split())
    report(f"{size}: memory for frames, map and verdict", memory / 1e6, " MB", Limit(0, 200.0))
    report(f"{size}: time to decode and judge", seconds, " s", Limit(0, 5.0))
