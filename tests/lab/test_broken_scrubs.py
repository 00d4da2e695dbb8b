# SPDX-License-Identifier: MIT
"""A Xen that is asked to scrub more than usual, and a debug Xen."""

from __future__ import annotations

import pytest

from .suite import RUN_SECONDS, run_suite

DEBUG = ("--xen-config=DEBUG=y", "--xen-cmdline=bootscrub=1")
"""A debug Xen that looks at each page that it hands out (CONFIG_SCRUB_DEBUG follows DEBUG)."""
CORE = (
    "destroyed_guest_leaves_nothing or probe_while_backlog_waits or memory_is_conserved"
    " or ballooned_pages or that_ends_leaves_nothing or (live_guest_gave_back and idle)"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize("test", ["ballooned_pages", "live_guest_gave_back and idle"])
def test_live_guests_memory_is_scrubbed_where_that_is_asked_for(test: str) -> None:
    """`scrub-domheap`: then nothing that a guest gave back may be dirty; one Xen forgets that."""
    asked = ("-k", test, "--xen-cmdline=scrub-domheap", "--xen-variant")
    status, output = run_suite(*asked, "stock", "--xen-variant=defect:forgets_domheap")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed, 1 passed" in output, output
    (failed,) = [line for line in output.splitlines() if line.startswith("FAILED ")]
    assert "forgets_domheap" in failed, output


def test_debug_xen_passes_with_a_clean_byte_of_its_own() -> None:
    status, output = run_suite("-k", CORE, "--xen-variant=stock", *DEBUG)
    assert status == pytest.ExitCode.OK, output
    assert "debug=y" in output, output
    assert "skipped" not in output, output
