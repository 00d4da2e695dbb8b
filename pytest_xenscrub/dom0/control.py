# SPDX-License-Identifier: MIT
"""`Control`: asks Xen for something in a domain's name, which no toolstack does for a dying one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.dom0.program import run_program
from pytest_xenscrub.dom0.sent.control import PARTS
from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0

DOM0: Final = 0


class Control:
    """What dom0 may ask of Xen for any domain: `sent/control.py`.

    Args:
        dom0: who asks.
    """

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0

    def claim(self, domid: int, pages: int) -> bool:
        """Claim memory, so that a domain has so many pages in all; none is claimed any more for 0.

        Returns whether Xen agrees; raises as `handle_virq` does.
        """
        return self._ask("claim", domid, pages)

    def handle_virq(self, domid: int, virq: int) -> bool:
        """Let a domain handle a VIRQ of the whole host, in place of whoever does.

        Returns:
            Whether Xen agrees.

        Raises:
            InfrastructureError: Xen was not asked, or says of something else that it fails.
            XenHungError: Xen does not answer.
        """
        return self._ask("virq", domid, virq)

    def _ask(self, what: str, domid: int, number: int) -> bool:
        step = f"{self._dom0.host.name}: {what} of domain {domid}"
        done = run_program(
            self._dom0.host, "control", what, str(domid), str(number),
            deadline=self._dom0.patience(step), parts=PARTS,
        )  # fmt: skip
        if done.returncode != 0:
            raise InfrastructureError(
                f"{step}: Xen cannot be asked in dom0", evidence={"stderr": done.stderr}
            )
        return bool(json.loads(done.stdout))
