# SPDX-License-Identifier: MIT
"""Places of labgrid's: its own coordinator, exporter and client, on loopback."""

from __future__ import annotations

import http.server
import shutil
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fakelabgrid.contract import SERVICE, LabgridContract
from fakelabgrid.real import RealLab, environment, install
from pytest_xenscrub.host.power import SerialLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_xenscrub.host.labgrid_place import LabgridPlace

pytestmark = pytest.mark.slow


class _Outlet(http.server.BaseHTTPRequestHandler):
    """A power port that is on."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"1")

    do_PUT = do_POST = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: it is no part of a test's output."""


class _Console(socketserver.BaseRequestHandler):
    """A serial console that speaks once."""

    def handle(self) -> None:
        self.request.sendall(b"(XEN) the console speaks\r\n")
        while self.request.recv(100):
            pass


def serve(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(environment(tmp_path_factory))


@pytest.fixture
def lab(programs: Path, tmp_path: Path) -> Iterator[RealLab]:
    lab = RealLab(programs, tmp_path / "labgrid")
    yield lab
    lab.close()


@pytest.fixture
def power_port() -> Iterator[int]:
    yield from serve(http.server.HTTPServer(("127.0.0.1", 0), _Outlet))


@pytest.fixture
def console_port() -> Iterator[int]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    yield from serve(Server(("127.0.0.1", 0), _Console))


class TestReal(LabgridContract):
    """As the fake's."""

    @pytest.mark.skipif(
        not (shutil.which("microcom") or shutil.which("telnet")),
        reason="labgrid's consoles need microcom, or telnet: apt-get install microcom",
    )
    def test_its_serial_console(
        self, lab: RealLab, place: Callable[..., LabgridPlace], console_port: int
    ) -> None:
        console = {"host": "127.0.0.1", "port": console_port, "speed": 115200, "protocol": "raw"}
        lab.add("lab9", {}, {"NetworkService": SERVICE, "NetworkSerialPort": console})
        taken = place("labgrid:lab9")
        log = SerialLog(taken.take(0).serial, "lab9")
        end = time.monotonic() + 60
        while "(XEN) the console speaks" not in log.tail(5):
            assert time.monotonic() < end, log.tail(5)
            time.sleep(0.2)
        taken.leave()


def test_nothing_of_a_lab_listens_elsewhere(lab: RealLab) -> None:
    host, _, port = lab.coordinator.partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("::1", int(port)), timeout=5).close()
