# SPDX-License-Identifier: MIT
"""The parser of the guest's console; the consoles are recorded from real guests."""

from __future__ import annotations

import resource
import time
import zlib
from pathlib import Path

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.errors import GuestProtocolError
from pytest_xenscrub.guest.console import LineDecoder
from pytest_xenscrub.guest.events import (
    Ballooned,
    Bye,
    DirtyPage,
    ErrorLine,
    Event,
    Filled,
    Hello,
    PatternResidue,
    Populated,
    Progress,
    Ranges,
    Ready,
    Resumed,
    Scanned,
    Verified,
)

CONSOLES = Path(__file__).parent / "consoles"


def recorded(name: str) -> bytes:
    return (CONSOLES / f"{name}.console").read_bytes()


def events_of(name: str) -> list[Event]:
    return LineDecoder().feed(recorded(name))


def line(seq: int, text: str) -> bytes:
    body = f"{seq} {text}".encode()
    return b"$%s*%08x\r\n" % (body, zlib.crc32(body))


def lines(*texts: str) -> bytes:
    return b"".join(line(seq, text) for seq, text in enumerate(texts))


def hello(pages: int) -> str:
    return f"hello protocol=3 type=pv pages={pages} vcpus=1 run=1 guest=1 clean=0"


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ranges_of(events: list[Event]) -> dict[str, Ranges]:
    return {event.kind: event for event in events if isinstance(event, Ranges)}


BALLOONED = (
    "ballooned pages=2",
    "range kind=ballooned at=0 runs=1:2",
    "ranges-end kind=ballooned pages=2",
)


def scanned(clean: int, residue: int = 0, unjudged: int = 0, pages: int = 10) -> str:
    return (
        f"scanned pages={pages} clean={clean} residue={residue} unjudged={unjudged} "
        f"pattern=0 other={residue} ns=1 vcpus=1"
    )


def test_a_guest_from_hello_to_crash() -> None:
    events = events_of("life")

    assert events[0] == Hello(3, "pv", 16384, 2, run=0x12AB34, guest=7, clean=0)
    assert [type(event) for event in events if not isinstance(event, Ranges)] == [
        Hello,
        Scanned,
        Filled,
        Verified,
        Ready,
        ErrorLine,
        Ready,
        Ballooned,
        Ready,
        Bye,
    ]
    assert ErrorLine("no such action", "nonsense") in events
    assert Ballooned(300) in events
    assert events[-1] == Bye("crash")


def test_the_lists_of_a_scan_part_the_domain() -> None:
    events = events_of("life")
    by_kind = ranges_of(events)
    frames = by_kind["frames"]
    parts = [by_kind[kind].frames for kind in ("clean", "residue", "unjudged")]

    assert frames.pages == len(frames.frames) == 16384
    assert parts[0] | parts[1] | parts[2] == frames.frames
    assert sum(map(len, parts)) == 16384
    assert by_kind["ballooned"].frames < frames.frames


def test_pages_and_their_frames() -> None:
    frames = ranges_of(events_of("life"))["frames"]
    assert frames.map is not None

    assert len(frames.map) == 16384
    pfns, mfns = frames.map.arrays()
    assert pfns.tolist() == list(range(16384))
    assert BitMap64(mfns) == frames.frames


def test_a_probe_finds_what_a_live_guest_gave_back() -> None:
    filler = ranges_of(events_of("filler"))
    events = events_of("probe")
    probe = ranges_of(events)
    given = filler["ballooned"].frames

    assert probe["residue"].pages > 19000
    assert probe["residue"].frames <= given
    assert not probe["clean"].frames & given

    pages = filler["frames"].map
    assert pages is not None
    owners = dict(zip(*(numbers.tolist() for numbers in pages.arrays()), strict=True))
    dirty = [event for event in events if isinstance(event, DirtyPage)]
    assert len(dirty) == 3
    for page in dirty:
        assert page.pattern is not None
        assert page.pattern.pfn is not None
        assert owners[page.pattern.pfn] == page.mfn
        assert page.pattern == PatternResidue(
            0x12AB34, 7, page.pattern.pfn, page.mfn, position=0, at=0
        )
        assert (page.first, page.last, page.words, page.at) == (1, 4095, 512, 0)
        assert page.data[:8] == bytes.fromhex("000e000034ab12a9")


def test_other_bytes_are_hashed_and_not_shown() -> None:
    events = events_of("debug")
    dirty = [event for event in events if isinstance(event, DirtyPage)]
    other = [page for page in dirty if page.pattern is None]

    assert len(dirty) == 2
    assert other
    for page in other:
        assert page.hash is not None
        assert page.data == b""
        assert page.at is None
    assert events[0] == Hello(3, "pv", 262144, 2, run=0x12AB34, guest=9, clean=0xC2)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_in_pieces(size: int) -> None:
    data = recorded("life")
    decoder = LineDecoder()
    events: list[Event] = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
    assert events == events_of("life")


def test_a_part_of_a_line_waits_for_its_end() -> None:
    decoder = LineDecoder()
    data = lines(hello(10), "ready")
    assert len(decoder.feed(data[:-1])) == 1
    assert decoder.feed(b"\n") == [Ready()]


def test_other_text_is_kept() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b"Xen says \xff\r\n\r\n" + lines(hello(10))) != []
    assert list(decoder.plain) == ["Xen says \N{REPLACEMENT CHARACTER}"]


def test_each_changed_byte_is_noticed() -> None:
    data = lines(hello(10), "ready")
    start = data.index(b"$1")
    for at in range(start + 1, len(data) - 2):
        decoder = LineDecoder()
        with pytest.raises(GuestProtocolError):
            decoder.feed(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("name", ["life", "probe"])
def test_each_missing_line_is_noticed(name: str) -> None:
    rows = recorded(name).splitlines(keepends=True)
    numbered = [at for at, row in enumerate(rows) if row.startswith(b"$")]
    for at in numbered[:-1]:
        with pytest.raises(GuestProtocolError, match="was to come"):
            LineDecoder().feed(b"".join(rows[:at] + rows[at + 1 :]))


def test_lines_out_of_order() -> None:
    with pytest.raises(GuestProtocolError, match="is number 2, and number 1"):
        LineDecoder().feed(line(0, hello(10)) + line(2, "ready") + line(1, "ready"))


def test_an_error_stays() -> None:
    decoder = LineDecoder()
    with pytest.raises(GuestProtocolError):
        decoder.feed(b"$0 hello*00000000\r\n")
    with pytest.raises(GuestProtocolError, match="checksum"):
        decoder.feed(lines(hello(10)))


def test_the_error_shows_the_line_and_what_came_before() -> None:
    with pytest.raises(GuestProtocolError) as caught:
        LineDecoder().feed(b"(XEN) oops\n$garbage\n")
    assert "$garbage" in str(caught.value)
    assert "(XEN) oops" in str(caught.value)


def test_a_line_without_end() -> None:
    with pytest.raises(GuestProtocolError, match="does not end"):
        LineDecoder().feed(b"$" + 2000 * b"x")


def test_a_reboot_starts_again() -> None:
    decoder = LineDecoder()
    decoder.feed(lines(hello(10), "ballooned pages=1", "bye reason=reboot"))
    assert decoder.feed(b"\r\n" + lines(hello(20), "ready"))[1:] == [Ready()]
    assert decoder.hello is not None
    assert decoder.hello.pages == 20


def test_progress() -> None:
    text = "progress op=scan bytes=4096 total=8192 ns=1000"
    event = LineDecoder().feed(lines(hello(10), text))[1]
    assert event == Progress("scan", 4096, 8192, 1000)
    assert isinstance(event, Progress)
    assert event.rate == pytest.approx(4.096e9)


@pytest.mark.parametrize(
    ("runs", "frames"),
    [
        ("a:1", [10]),
        ("a:3", [10, 11, 12]),
        ("10:2:-4:3", [16, 17, 12, 13, 8, 9]),
        ("10:1:-1:3,20:1", [16, 15, 14, 32]),
        ("10:2:2:2", [16, 17, 18, 19]),
        ("fffffffff:1", [0xFFFFFFFFF]),
    ],
)
def test_runs(runs: str, frames: list[int]) -> None:
    pages = len(frames)
    decoder = LineDecoder()
    event = decoder.feed(
        lines(
            hello(pages),
            f"range kind=frames at=0 runs={runs}",
            f"ranges-end kind=frames pages={pages}",
        )
    )[1]
    assert isinstance(event, Ranges)
    assert event.map is not None
    assert event.frames == BitMap64(frames)
    assert event.map.arrays()[1].tolist() == frames


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["greetings"], "unknown verb"),
        (["filled pages=3"], "no own="),
        (["filled pages=x own=1 ns=1 vcpus=1"], "pages=x is not a number"),
        (["filled pages=1 own=1 ns=1 vcpus=1"], "the guest has 10 pages"),
        (["ready =1"], "not of the protocol"),
        (["progress op=scan op=scan bytes=1 total=1 ns=1"], "twice"),
        (["progress op=nap bytes=1 total=1 ns=1"], "op=nap"),
        ([scanned(9)], "1 of its pages have no verdict"),
        ([scanned(10, 1)], "-1 of its pages have no verdict"),
        ([scanned(9, pages=9)], "the guest has 10 pages"),
        ([scanned(10), "ready"], "no list came of clean"),
        ([scanned(10), "ranges-end kind=clean pages=0"], "10 pages were to come"),
        (["ranges-end kind=frames pages=0"], "10 pages were to come"),
        (["range kind=clean at=0 runs=1:1", "ready"], "list of clean has not ended"),
        (["range kind=clean at=0 runs=1:1", "ranges-end kind=residue pages=1"], "not ended"),
        (["range kind=clean at=0 runs=1:1", "ranges-end kind=clean pages=2"], "has 1 pages"),
        (["range kind=clean at=0 runs=1:1,1:1", "ranges-end kind=clean pages=2"], "1 frames"),
        (["range kind=clean at=0 runs=1:b"], "cannot be"),
        (["range kind=clean at=0 runs=1:0"], "cannot be"),
        (["range kind=clean at=0 runs=1:1:-1:3"], "cannot be"),
        (["range kind=clean at=0 runs=1:1:0:2"], "cannot be"),
        (["range kind=clean at=0 runs=1-2"], "not a run"),
        (["range kind=foul at=0 runs=1:1"], "kind=foul"),
        (["range kind=frames at=5 runs=1:1", "range kind=frames at=5 runs=2:1"], "comes after"),
        (["ballooned pages=11"], "the guest has 10 pages"),
        (["populated pages=1"], "has given back 0 pages"),
        ([*BALLOONED, "populated pages=3"], "has given back 2 pages"),
        ([*BALLOONED, "populated pages=1", "ready"], "no list came of populated"),
        (["dirty pfn=1 mfn=1 first=0 last=0 words=1 class=odd"], "class=odd"),
        (["bye reason=boredom"], "reason=boredom"),
    ],
)
def test_lines_that_cannot_be(texts: list[str], why: str) -> None:
    with pytest.raises(GuestProtocolError, match=why):
        LineDecoder().feed(lines(hello(10), *texts))


def test_what_is_taken_back_is_owned_again() -> None:
    taken = ("range kind=populated at=0 runs=9:1", "ranges-end kind=populated pages=1")
    events = LineDecoder().feed(
        lines(hello(10), *BALLOONED, "populated pages=1", *taken, scanned(9, pages=9))
    )
    assert events[3] == Populated(1)
    assert events[4] == Ranges("populated", BitMap64([9]), 1)


def test_another_protocol() -> None:
    with pytest.raises(GuestProtocolError, match="protocol 4, and this reads 3"):
        LineDecoder().feed(lines(hello(10).replace("protocol=3", "protocol=4")))


def test_frames_without_hello() -> None:
    with pytest.raises(GuestProtocolError, match="no hello"):
        LineDecoder().feed(lines("ranges-end kind=frames pages=0"))


def test_a_terabyte_in_scattered_chunks() -> None:
    chunks = (1 << 40) >> 21
    where = [((at * 40503) % chunks) * 1024 for at in range(chunks)]
    texts = [hello(chunks * 512)]
    for at in range(0, chunks, 60):
        runs = ",".join(f"{mfn:x}:200" for mfn in where[at : at + 60])
        texts.append(f"range kind=frames at={at * 512} runs={runs}")
    texts.append(f"ranges-end kind=frames pages={chunks * 512}")
    data = lines(*texts)

    memory, cpu = peak_memory(), time.process_time()
    event = LineDecoder().feed(data)[1]
    memory, cpu = peak_memory() - memory, time.process_time() - cpu

    assert isinstance(event, Ranges)
    assert event.map is not None
    assert event.pages == chunks * 512
    *_, last = event.map.groups()
    assert (last.pfn, last.mfn, last.length) == ((chunks - 1) * 512, where[-1], 512)
    assert memory < 200e6
    assert cpu < 8


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_guest_that_was_suspended_goes_on_counting_its_lines(cancelled: bool) -> None:
    decoder = LineDecoder()
    decoder.feed(lines(hello(2), "ready"))
    frames = line(2, "range kind=frames at=0 runs=7:2") + line(3, "ranges-end kind=frames pages=2")
    *_, told, resumed = decoder.feed(frames + line(4, f"resumed cancelled={int(cancelled)} ns=5"))
    assert isinstance(told, Ranges)
    assert told.frames == BitMap64([7, 8])
    assert resumed == Resumed(cancelled, 5)
