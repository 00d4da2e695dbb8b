# SPDX-License-Identifier: MIT
"""Makes the event of one line of the guest's console from its keys alone.

`console.LineDecoder` checks whether a line agrees with the lines before it. Each function raises
ValueError if a key is missing or has an impossible value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from pytest_xenscrub.guest.events import (
    Bye,
    DirtyPage,
    Filled,
    Hello,
    Kind,
    Operation,
    PatternResidue,
    Progress,
    Reason,
    Scanned,
)
from pytest_xenscrub.guest.sample import Sample
from pytest_xenscrub.guest_type import GuestType

if TYPE_CHECKING:
    from pytest_xenscrub.guest.line import Values

PROTOCOL: Final = 3
"""Version of the protocol that this module reads."""


def hello(v: Values) -> Hello:
    """`hello`: the guest has started."""
    if v.dec("protocol") != PROTOCOL:
        raise ValueError(f"protocol {v.dec('protocol')}, and this reads {PROTOCOL}")
    return Hello(
        protocol=v.dec("protocol"),
        type=_guest_type(v),
        pages=v.dec("pages"),
        vcpus=v.dec("vcpus"),
        run=v.hex("run"),
        guest=v.dec("guest"),
        clean=v.hex("clean"),
    )


def _guest_type(v: Values) -> GuestType:
    text = v.text("type")
    for known in get_args(GuestType):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"type={text}")


def progress(v: Values) -> Progress:
    """`progress`: the progress of a scan or a fill."""
    op = v.text("op")
    for known in get_args(Operation):
        if op == known:
            return Progress(known, v.dec("bytes"), v.dec("total"), v.dec("ns"))
    raise ValueError(f"op={op}")


def filled(v: Values) -> Filled:
    """`filled`: the sums of a fill, unchecked, and the sample if the guest filled one."""
    sums = v.dec("pages"), v.dec("own"), v.dec("ns"), v.dec("vcpus")
    if "left" not in v:
        return Filled(*sums)
    sample = Sample(v.hex("seed"), v.hex("single"), v.hex("dense"))
    return Filled(*sums, v.dec("left"), sample)


def scanned(v: Values) -> Scanned:
    """`scanned`: the sums of a scan, unchecked."""
    return Scanned(
        pages=v.dec("pages"),
        clean=v.dec("clean"),
        residue=v.dec("residue"),
        unjudged=v.dec("unjudged"),
        pattern=v.dec("pattern"),
        other=v.dec("other"),
        ns=v.dec("ns"),
        vcpus=v.dec("vcpus"),
    )


def kind(v: Values) -> Kind:
    """`kind=` of a list of frames."""
    text = v.text("kind")
    for known in get_args(Kind):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"kind={text}")


def dirty(v: Values) -> DirtyPage:
    """`dirty`: a page that is not clean."""
    pattern, digest = None, None
    if v.text("class") == "pattern":
        pattern = PatternResidue(
            run=v.unless_gone("run", v.hex),
            guest=v.unless_gone("guest", v.dec),
            pfn=v.unless_gone("of-pfn", v.dec),
            mfn=v.unless_gone("of-mfn", v.hex),
            position=v.dec("pos"),
            at=v.dec("at"),
        )
        v.text("bytes")
    elif v.text("class") == "other":
        digest = v.hex("hash")
    else:
        raise ValueError(f"class={v.text('class')}")
    shown = "bytes" in v
    return DirtyPage(
        pfn=v.dec("pfn"),
        mfn=v.hex("mfn"),
        first=v.dec("first"),
        last=v.dec("last"),
        words=v.dec("words"),
        pattern=pattern,
        hash=digest,
        at=v.dec("at") if shown else None,
        data=bytes.fromhex(v["bytes"]) if shown else b"",
    )


def bye(v: Values) -> Bye:
    """`bye`: the reason why the guest ends."""
    reason = v.text("reason")
    for known in get_args(Reason):
        if reason == known:
            return Bye(known)
    raise ValueError(f"reason={reason}")
