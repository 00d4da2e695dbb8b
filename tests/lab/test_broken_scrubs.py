# SPDX-License-Identifier: MIT
"""Each defect of a scrubber or allocator is caught by the test that was written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .suite import RUN_SECONDS, run_suite

VARIANTS = Path(__file__).parent / "variants"
DEBUG = ("--xen-config=DEBUG=y", "--xen-cmdline=bootscrub=1")
"""A debug Xen that looks at each page that it hands out (CONFIG_SCRUB_DEBUG follows DEBUG)."""
CORE = (
    "destroyed_guest_leaves_nothing or probe_while_backlog_waits or memory_is_conserved"
    " or ballooned_pages or that_ends_leaves_nothing or (live_guest_gave_back and idle)"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 30)]


@pytest.mark.parametrize(
    ("variant", "test", "seen"),
    [
        ("leaks_page", "cycles_leave_no_trace and same", "40 guests cost 40 pages"),
        ("loses_claims", "cycles_leave_no_trace and same", "assert Standing("),
        ("abort_forgets", "large_extents", "RESIDUE"),
        ("abort_forgets", "single_pages", "backlog of earlier guests: not done"),
        (
            "merge_forgets",
            "live_guest_gave_back and idle",
            "scrubbing what the victim left: not done",
        ),
        ("leaks_page", "memory_is_conserved", "each one still costs memory, the last 4096 bytes"),
        ("loses_claims", "half_built_guests", "memory is still promised"),
        ("hides_backlog", "probe_while_backlog_waits", "no guest is given it"),
        ("scrubs_held_pages", "held_by_dom0", "pages were changed while dom0 had them mapped"),
        ("scrubs_crashed", "preserved_guest", "pages were changed, and nothing has died"),
        ("warns_on_free", "destroyed_guest_leaves_nothing", "Xen WARN at common/page_alloc.c"),
    ],
)
def test_defect_is_caught(variant: str, test: str, seen: str) -> None:
    status, output = run_suite("-k", test, "--xen-variant", VARIANTS / f"{variant}.cocci")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert seen in output, output
    assert "1 failed" in output, output


@pytest.mark.parametrize("test", ["ballooned_pages", "live_guest_gave_back and idle"])
def test_live_guests_memory_is_scrubbed_where_that_is_asked_for(test: str) -> None:
    """`scrub-domheap`: then nothing that a guest gave back may be dirty; one Xen forgets that."""
    asked = ("-k", test, "--xen-cmdline=scrub-domheap", "--xen-variant")
    status, output = run_suite(*asked, "stock", "--xen-variant", VARIANTS / "forgets_domheap.cocci")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed, 1 passed" in output, output
    (failed,) = [line for line in output.splitlines() if line.startswith("FAILED ")]
    assert "forgets_domheap" in failed, output


def test_failed_assertion_fails_the_test_that_did_it() -> None:
    """A debug Xen panics: that is this test's failure, with the assertion, and not an error."""
    variant = VARIANTS / "asserts_on_free.cocci"
    status, output = run_suite(
        "-k", "destroyed_guest_leaves_nothing", "--xen-variant", variant, *DEBUG
    )
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed" in output, output
    assert "Assertion '!d || !d->is_dying' failed" in output, output


def test_debug_xen_passes_with_a_clean_byte_of_its_own() -> None:
    status, output = run_suite("-k", CORE, "--xen-variant=stock", *DEBUG)
    assert status == pytest.ExitCode.OK, output
    assert "debug=y" in output, output
    assert "skipped" not in output, output
