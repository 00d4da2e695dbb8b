# SPDX-License-Identifier: MIT
"""Requests for a dying domain: whatever Xen grants must end with the domain.

A domain keeps dying while dom0 or another domain maps its pages. A toolstack that knows only the
domain's number can still make requests for it. Once the domain is gone, they cannot be undone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0.control import DOM0, Control
from pytest_xenscrub.errors import UndecidedError
from pytest_xenscrub.units import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.dom0.mapping import ForeignMapping
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Ended
    from pytest_xenscrub.run.managed_host import ManagedHost
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

    from .conftest import WaitZombie, XenHasFault

    WhileDying = Callable[[Callable[[], object]], Future[Ended]]

VICTIM_BYTES = 64 * MIB
HELD_PAGES = 64
CLAIM_PAGES = MIB // PAGE
"""At most what a toolstack allows a guest beyond its memory; at least what `xl info` can show."""
VIRQ_TBUF = 4
"""The VIRQ of Xen's trace buffers, which no program handles unless something is traced."""
GONE_SECONDS = 10.0
"""How long Xen may list a small domain after its last page was unmapped."""


@pytest.fixture
def control(dom0: Dom0) -> Control:
    """Makes requests to Xen for any domain."""
    return Control(dom0)


@pytest.fixture
def virq(guests: GuestFactory, control: Control, managed_host: ManagedHost) -> Iterator[int]:
    """A VIRQ whose handler tests may change; dom0 is its handler again after the test."""
    del guests  # pytest ends fixtures in reverse order, so this one ends before the guests do
    yield VIRQ_TBUF
    if managed_host.healthy():
        control.handle_virq(DOM0, VIRQ_TBUF)


@pytest.fixture
def while_dying(victim: Victim, mapping: ForeignMapping, wait_zombie: WaitZombie) -> WhileDying:
    """Destroys the victim while dom0 maps its pages, calls a function, and unmaps the pages.

    Gives a future of the victim's end, without waiting for it.
    """

    def destroy(do: Callable[[], object]) -> Future[Ended]:
        guest = victim.guest
        mapping.map(guest.domid, guest.mappable(guest.some_frames(HELD_PAGES)))
        dying = victim.start_destroy(until="gone")
        wait_zombie(guest.domid, HELD_PAGES * PAGE)
        do()
        assert not dying.done(), "the domain is gone, and dom0 still has pages of it mapped"
        mapping.release()
        return dying

    return destroy


def is_listed(dom0: Dom0, domid: int) -> bool:
    """Whether Xen still lists a domain after `GONE_SECONDS`; returns early once it does not.

    Raises:
        UndecidedError: the domain stays, but other work starved the host meanwhile.
    """
    seconds = min(GONE_SECONDS, dom0.hang_seconds / 2)
    deadline = dom0.patience(f"the end of domain {domid}", seconds=seconds)
    while any(domain.domid == domid for domain in dom0.domains()):
        if deadline.passed:
            error = deadline.error(**dom0.evidence())
            if isinstance(error, UndecidedError):
                raise error
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_claim_of_a_dying_domain_ends_with_it(
    victim: Victim, control: Control, dom0: Dom0, managed_host: ManagedHost, *,
    while_dying: WhileDying, xen_has_fault: XenHasFault,
) -> None:  # fmt: skip
    """A claim for a dying domain is refused, or given back when the domain is gone.

    Otherwise that memory stays claimed until the next boot, and no guest can have it. A claim for
    the live domain comes first, to show that Xen grants claims and `xl info` shows them.
    """
    assert dom0.claimed_bytes() == 0
    victim.memory_bytes = VICTIM_BYTES
    victim.fill()
    domid = victim.guest.domid
    (has,) = [domain.memory_bytes for domain in dom0.domains() if domain.domid == domid]
    assert control.claim(domid, has // PAGE + CLAIM_PAGES)
    assert dom0.claimed_bytes() == CLAIM_PAGES * PAGE
    assert control.claim(domid, 0)
    assert dom0.claimed_bytes() == 0
    while_dying(lambda: control.claim(domid, HELD_PAGES + CLAIM_PAGES)).result()
    if claimed := dom0.claimed_bytes():
        managed_host.broke("memory stays promised to a domain that is gone")
    xen_has_fault("the claim of a dying domain stays", mended={19: 5, 20: 3, 21: 1}, until=22)
    assert claimed == 0, f"{claimed} bytes stay promised to a domain that is gone"


@pytest.mark.slow
@pytest.mark.control
def test_domain_that_handles_a_virq_dies(
    victim: Victim, probe: Probe, timings: Timings, control: Control, virq: int
) -> None:
    """A domain that handles a global VIRQ is destroyed, and its memory is scrubbed."""
    frames = victim.fill()
    assert control.handle_virq(victim.guest.domid, virq)
    timings.record(victim.destroy())
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)


@pytest.mark.slow
def test_virq_of_a_dying_domain_ends_with_it(
    victim: Victim, control: Control, dom0: Dom0, virq: int, *,
    while_dying: WhileDying, xen_has_fault: XenHasFault,
) -> None:  # fmt: skip
    """A dying domain that becomes the handler of a VIRQ is still removed.

    Xen holds a reference to a VIRQ's handler. A reference that is taken after the teardown dropped
    all of them is never dropped, so Xen lists the domain for good. The same request for the live
    domain comes first, to show that Xen grants it.
    """
    victim.memory_bytes = VICTIM_BYTES
    victim.fill()
    domid = victim.guest.domid
    assert control.handle_virq(domid, virq)
    assert control.handle_virq(DOM0, virq)
    dying = while_dying(lambda: control.handle_virq(domid, virq))
    stays = is_listed(dom0, domid)
    control.handle_virq(DOM0, virq)
    dying.result()
    xen_has_fault("a dying domain that is given a VIRQ stays", mended={18: 5, 19: 2}, until=20)
    assert not stays, "Xen still lists the dead domain, because the domain handles a VIRQ"
