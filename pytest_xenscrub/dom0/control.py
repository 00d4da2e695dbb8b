# SPDX-License-Identifier: MIT
"""`Control`: requests to Xen that no toolstack makes for a dying domain."""

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
    """Requests that dom0 may make for any domain; `sent/control.py` makes them there.

    Args:
        dom0: the agent in the host's dom0.
    """

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0

    def claim(self, domid: int, pages: int) -> bool:
        """Claim so many pages for a domain, those it has included; 0 drops its claim.

        Returns whether Xen grants it; raises as `handle_virq` does.
        """
        return self._ask("claim", domid, pages)

    def handle_virq(self, domid: int, virq: int) -> bool:
        """Make a domain the handler of a global VIRQ.

        Returns:
            Whether Xen grants it.

        Raises:
            InfrastructureError: the request could not be made, or failed without a refusal by Xen.
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
