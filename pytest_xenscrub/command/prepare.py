# SPDX-License-Identifier: MIT
"""Fill the cache with all that runs will need: dom0's image, the guests' kernel, built Xens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_xenscrub.boot.deploy_emulated import IMAGE_SECONDS
from pytest_xenscrub.command import xen_options
from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.deadline import Deadline

if TYPE_CHECKING:
    import argparse

HELP: Final = "fill the cache with what runs need, such as for the image of a CI machine"
MANUAL: Final = Manual(
    examples=(
        ("xenscrub prepare", "dom0's image and the guests' kernel"),
        (
            "xenscrub prepare --xen-variant=stock --xen-source=xen#staging",
            "a Xen as well, as runs with the same options will use it",
        ),
        ("xenscrub prepare --no-image --xen-variant=fix.patch", "for runs on lab machines"),
    ),
    done="everything is in the cache",
    wrong="wrong usage; or a patch does not apply, or does not compile",
    failed="a program is missing, or the network or disk failed",
    cache=True,
    see=("docs/tutorial/ci.md",),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub prepare`."""
    xen_options.declare(parser, "suite", "guest_type", "variant", "source", "config", "cmdline")
    parser.add_argument(
        "--no-image",
        action="store_true",
        help="do not build dom0's image, which lab machines do not need",
    )


def run(options: argparse.Namespace) -> None:
    """Build everything.

    Raises:
        ConfigurationError: a variant does not apply, or does not compile.
        InfrastructureError: something is missing, or failed.
    """
    from pytest_xenscrub.guest.build import build_kernel  # noqa: PLC0415 - after --help
    from pytest_xenscrub.host.emulated.image import ensure_image  # noqa: PLC0415 - as above

    xens = xen_options.xens_of(options)
    print(f"the guests' kernel: {build_kernel()}")
    for name in xens.names:
        artefact = xens.get(name).artefact
        if artefact is not None:
            print(f"Xen {name}: {artefact.elf}", flush=True)
    if not options.no_image:
        deadline = Deadline.after(IMAGE_SECONDS, "building the host's image")
        image = ensure_image(
            options.suite, say=xen_options.say, deadline=deadline,
            device_model="hvm" in options.guest_type,
        )  # fmt: skip
        print(f"dom0 of Debian {options.suite}: {image.folder}")
