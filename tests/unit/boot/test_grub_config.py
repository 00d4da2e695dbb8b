# SPDX-License-Identifier: MIT
"""Boot entries from a recorded grub.cfg."""

from __future__ import annotations

import pytest

from pytest_xenscrub.boot.grub_config import (
    Block,
    check_config,
    find_block,
    grub_quoted,
    one_shot_entry,
    running_entry,
    xen_entries,
)
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

from .debian12 import CONFIG, DOM0, OWN, XEN


def test_entries_are_found_in_submenus() -> None:
    entries = xen_entries(CONFIG)
    assert [entry.title.rpartition(" > ")[2] for entry in entries] == [
        "Debian GNU/Linux, with Xen hypervisor",
        "Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-56-amd64",
        "Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-56-amd64 (recovery mode)",
        "Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-50-amd64",
        "Debian GNU/Linux, with Xen 4.17-amd64 and Linux 6.1.0-50-amd64 (recovery mode)",
    ]
    assert entries[1].title.startswith("Advanced options for Debian GNU/Linux (with Xen")
    first = entries[0]
    assert first.hypervisor == "/boot/xen-4.17-amd64.gz"
    assert first.modules[0].path == "/boot/vmlinuz-6.1.0-56-amd64"
    assert first.modules[1].path == "/boot/initrd.img-6.1.0-56-amd64"
    assert first.modules[1].options == ()


@pytest.mark.parametrize(
    ("release", "dom0", "xen", "index"),
    [
        ("6.1.0-56-amd64", DOM0, XEN, 0),
        ("6.1.0-56-amd64", DOM0, "", 0),
        ("6.1.0-50-amd64", DOM0, XEN, 3),
        ("6.1.0-50-amd64", DOM0 + " acpi=off", XEN + " loglvl=all", 3),
        ("6.1.0-50-amd64", DOM0.replace("quiet", "single"), "", 4),
        ("6.1.0-56-amd64", "root=/dev/sda9 ro", "", 0),
    ],
)
def test_the_entry_that_runs(release: str, dom0: str, xen: str, index: int) -> None:
    entries = xen_entries(CONFIG)
    found = running_entry(entries, release=release, dom0_options=dom0, xen_options=xen)
    assert entries.index(found) == index


def test_a_kernel_without_an_entry_is_an_error_that_lists_them() -> None:
    with pytest.raises(InfrastructureError, match=r"6\.9\.9") as caught:
        running_entry(xen_entries(CONFIG), release="6.9.9", dom0_options="", xen_options="")
    assert "with Xen hypervisor" in str(caught.value)


def test_the_new_entry_differs_in_the_hypervisor_alone() -> None:
    entry = xen_entries(CONFIG)[3]
    text = one_shot_entry(
        entry, identifier="pytest-xenscrub-a", file_name="a.gz", xen_options="watchdog x=a;b"
    )
    new = xen_entries(text.replace("if ! multiboot2", "multiboot2").replace("; then", ""))[0]
    assert new.title == "pytest-xenscrub-a"
    assert new.hypervisor == "/boot/a.gz"
    assert new.modules == entry.modules
    assert new.options == (*entry.options, "watchdog", "x=a;b")
    assert "search --no-floppy --fs-uuid" in text
    assert "'x=a;b'; then" in text
    assert "\treboot\n" in text
    assert "Loading Xen 4.17" not in text


def test_an_entry_of_multiboot_1_with_a_device_before_the_path() -> None:
    config = (
        "menuentry 'Xen' {\n  savedefault\n  multiboot (hd0,1)/xen.gz dom0_mem=1G\n"
        "  module (hd0,1)/vmlinuz-5 root=/dev/sda2\n  module (hd0,1)/initrd-5\n}\n"
    )
    (entry,) = xen_entries(config)
    assert entry.files_path == "/xen.gz"
    text = one_shot_entry(entry, identifier="i", file_name="i.gz", xen_options="")
    assert "if ! multiboot (hd0,1)/i.gz dom0_mem=1G; then" in text
    assert "savedefault" not in text


def test_an_option_with_a_quote_is_refused() -> None:
    assert grub_quoted("dom0_mem=1G,max:1G") == "dom0_mem=1G,max:1G"
    with pytest.raises(ConfigurationError, match="quote"):
        grub_quoted("it's")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  load_env\n", "GRUB_DEFAULT=saved"),
        ('   set default="${next_entry}"\n', "GRUB_DEFAULT=saved"),
        ("   save_env next_entry\n", "GRUB_DEFAULT=saved"),
        ("  source ${config_directory}/custom.cfg\n", "41_custom"),
    ],
)
def test_a_configuration_that_would_not_go_back_is_refused(line: str, said: str) -> None:
    check_config(CONFIG, "grub.cfg")
    without = CONFIG.replace(line, "").replace("  source $prefix/custom.cfg\n", "")
    with pytest.raises(ConfigurationError) as caught:
        check_config(without, "/boot/grub/grub.cfg")
    assert said in caught.value.todo


@pytest.mark.parametrize("before", ["", "# mine\n", "# mine, no end"])
def test_a_block_comes_out_as_it_went_in(before: str) -> None:
    newline = bool(before) and not before.endswith("\n")
    mine = Block("a", OWN, created=False, newline=newline, had_variable=True)
    other = Block("a.b", OWN, created=False, newline=False, had_variable=False)
    both = other.added_to(mine.added_to(before, "entry a\n"), "entry a.b\n")
    found = find_block(both, "a.b")
    assert found is not None
    assert found[0] == other
    assert find_block(found[1], "a") == (mine, before)
    assert find_block(before, "a") is None


def test_a_block_leaves_another_after_it_whole() -> None:
    mine = Block("a", OWN, created=False, newline=True, had_variable=False)
    other = Block("b", OWN, created=False, newline=False, had_variable=False)
    found = find_block(other.added_to(mine.added_to("# mine", "entry a\n"), "entry b\n"), "a")
    assert found is not None
    assert find_block(found[1], "b") == (other, "# mine\n")
