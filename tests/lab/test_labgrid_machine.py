# SPDX-License-Identifier: MIT
"""The suite on a place of labgrid's that is an emulated lab machine: address, power, reboots."""

from __future__ import annotations

import http.server
import shlex
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.fake import holder
from fakelabgrid.real import RealLab, environment, install
from pytest_xenscrub.testing import ALIAS

from .runs import lab_machine, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.testing import LabMachine

RUN_SECONDS = 1200

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 1800)]


def outlet(machine: LabMachine, asked: list[str]) -> http.server.HTTPServer:
    """A power port of the machine, as labgrid's `simplerest` speaks to one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            # /power/INDEX asks, /power/INDEX/VALUE switches.
            value = "".join(self.path.split("/")[3:])
            action = {"0": "off", "1": "on"}.get(value, "status")
            command = shlex.split(machine.power.format(action=action))
            said = subprocess.run(command, capture_output=True, check=False)
            self.send_response(500 if said.returncode else 200)
            self.end_headers()
            self.wfile.write(b"1")

        do_PUT = do_POST = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return http.server.HTTPServer(("127.0.0.1", 0), Handler)


def test_a_place_is_tested_and_given_back(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own Xen and one of ours, and then the place is anybody's."""
    lab = RealLab(install(environment(tmp_path_factory)), tmp_path / "labgrid")
    monkeypatch.setenv("LG_COORDINATOR", lab.coordinator)
    asked: list[str] = []
    with lab_machine() as machine:
        server = outlet(machine, asked)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/power/{{index}}/{{value}}"
            lab.add(
                "rack1",
                {"xen": "yes"},
                {
                    "NetworkService": {"address": ALIAS, "username": "root"},
                    "NetworkPowerPort": {"model": "simplerest", "host": url, "index": "1"},
                },
            )
            done = run_pytest(
                "tests/scrub", "-v", "-k", "destroyed_guest_leaves_nothing",
                "--xen-host=labgrid:xen=yes", f"--xen-labgrid-client={lab.program}",
                f"--xen-ssh-config={machine.ssh_config}", f"--xen-serial={machine.serial}",
                "--xen-variant=as-is", "--xen-variant=sync", seconds=RUN_SECONDS,
            )  # fmt: skip
            print(done.output)
            assert done.status == 0, done.output
            assert "2 passed" in done.output, done.output
            assert "labgrid:xen=yes: rack1 is acquired as" in done.output, done.output
            assert "rack1: booting Xen sync once" in done.output, done.output
            assert asked, "its power was never asked for"
            assert holder(lab, "rack1") == ""
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            lab.close()
