# SPDX-License-Identifier: MIT
"""What fails for a dying domain on Xen as it is passes on a Xen that asks whether it is dying."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize(
    ("variant", "what"),
    [("stock", "2 xfailed"), (VARIANTS / "refuses_the_dying.cocci", "2 xpassed")],
    ids=["as-is", "mended"],
)
def test_what_is_asked_for_a_dying_domain(variant: str | Path, what: str) -> None:
    """Debian's is of a release that is known to have both faults."""
    status, output = run_suite("-k", "of_a_dying_domain", "--xen-variant", variant)
    assert status == pytest.ExitCode.OK, output
    assert what in output, output
