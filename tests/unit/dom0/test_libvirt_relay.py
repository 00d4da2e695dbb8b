# SPDX-License-Identifier: MIT
"""The relay, alone and as a process between a client and a faked daemon."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_xenscrub.dom0.sent import libvirt_relay as relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAG = "xenscrub-12ab34"
CREATE, DESTROY, GET_HOSTNAME = 10, 12, 59
KEEP_ALIVE_PROGRAM = 0x6B656570


def message(
    procedure: int, kind: int, serial: int, payload: bytes = b"", program: int | None = None
) -> bytes:
    number = relay.REMOTE_PROGRAM if program is None else program
    size = relay.HEADER.size + len(payload)
    return relay.HEADER.pack(size, number, 1, procedure, kind, serial, 0) + payload


def string(text: str) -> bytes:
    """As XDR has it: no padding where the length is a multiple of 4."""
    data = text.encode()
    return relay.SIZE.pack(len(data)) + data + bytes(-len(data) % 4)


def destroy_of(name: str, serial: int) -> bytes:
    # A UUID whose bytes are letters must not become part of the name.
    return message(DESTROY, relay.CALL, serial, string(name) + b"A" * 16 + bytes(4))


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def watch(told: list[dict[str, Any]]) -> relay.Stopwatch:
    return relay.Stopwatch(TAG, told.append)


# -- calls on their way through ----------------------------------------------------------------


@pytest.mark.parametrize("name", [f"{TAG}-probe-12", f"{TAG}-probe-13-", f"{TAG}-spinner-2"])
def test_a_destroy_is_timed_and_named(
    watch: relay.Stopwatch, told: list[dict[str, Any]], name: str
) -> None:
    watch.requested(destroy_of(name, 7))
    assert told == []
    watch.answered(message(DESTROY, relay.REPLY, 7))
    assert [(t["call"], t["domain"]) for t in told] == [("destroy", name)]
    assert told[0]["issued"] <= told[0]["returned"]


def test_a_create_is_named_by_its_xml(watch: relay.Stopwatch, told: list[dict[str, Any]]) -> None:
    xml = f"<domain><name>{TAG}-victim-1</name><kernel>/run/{TAG}/kernel.elf</kernel></domain>"
    watch.requested(message(CREATE, relay.CALL, 3, string(xml) + bytes(4)))
    watch.answered(message(CREATE, relay.REPLY, 3))
    assert (told[0]["call"], told[0]["domain"]) == ("create", f"{TAG}-victim-1")


def test_calls_that_overlap_are_told_apart_by_their_serial(
    watch: relay.Stopwatch, told: list[dict[str, Any]]
) -> None:
    watch.requested(destroy_of(f"{TAG}-a-1", 1) + destroy_of(f"{TAG}-b-2", 2))
    watch.answered(message(DESTROY, relay.REPLY, 2))
    watch.answered(message(DESTROY, relay.REPLY, 1))
    assert [t["domain"] for t in told] == [f"{TAG}-b-2", f"{TAG}-a-1"]


def test_messages_in_pieces(watch: relay.Stopwatch, told: list[dict[str, Any]]) -> None:
    for byte in destroy_of(f"{TAG}-victim-1", 9) + destroy_of(f"{TAG}-victim-2", 10):
        watch.requested(bytes([byte]))
    for byte in message(DESTROY, relay.REPLY, 9) + message(DESTROY, relay.REPLY, 10):
        watch.answered(bytes([byte]))
    assert [t["domain"] for t in told] == [f"{TAG}-victim-1", f"{TAG}-victim-2"]


def test_what_is_no_call_of_interest_passes(
    watch: relay.Stopwatch, told: list[dict[str, Any]]
) -> None:
    watch.requested(message(GET_HOSTNAME, relay.CALL, 1))
    watch.requested(message(DESTROY, relay.CALL, 2, program=KEEP_ALIVE_PROGRAM))
    watch.answered(message(GET_HOSTNAME, relay.REPLY, 1))
    watch.answered(message(2, 2, 0, program=KEEP_ALIVE_PROGRAM))
    watch.answered(message(DESTROY, relay.REPLY, 99))
    assert told == []
    assert watch.running == {}


def test_garbage_does_not_stop_it(watch: relay.Stopwatch) -> None:
    watch.requested(bytes(100))
    watch.requested(message(DESTROY, relay.CALL, 1))


# -- the process -------------------------------------------------------------------------------


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        server.listen()
        server.settimeout(10)
        yield server


def start(path: Path, **settings: object) -> subprocess.Popen[bytes]:
    changes = "".join(f"relay.{key} = {value!r}\n" for key, value in settings.items())
    program = (
        "import sys\nfrom pytest_xenscrub.dom0.sent import libvirt_relay as relay\n"
        f"relay.SOCKETS = [{str(path)!r}]\nrelay.DRIVERS = '/nonexistent{{}}{{}}'\n{changes}"
        f"sys.exit(relay.main({TAG!r}))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_it_carries_both_ways_and_tells_before_the_answer_goes_on(
    daemon: socket.socket, tmp_path: Path
) -> None:
    request, answer = destroy_of(f"{TAG}-victim-1", 5), message(DESTROY, relay.REPLY, 5)
    with start(tmp_path / "sock") as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        connection, _ = daemon.accept()
        with connection:
            assert json.loads(process.stderr.readline())["socket"] == str(tmp_path / "sock")
            process.stdin.write(request)
            process.stdin.flush()
            assert connection.recv(1000) == request
            connection.sendall(answer)
            assert process.stdout.read(len(answer)) == answer
            assert json.loads(process.stderr.readline())["domain"] == f"{TAG}-victim-1"
            process.stdin.close()
            assert connection.recv(1) == b""
        assert process.wait(10) == 0


def test_a_daemon_that_closes_ends_it(daemon: socket.socket, tmp_path: Path) -> None:
    with start(tmp_path / "sock") as process:
        daemon.accept()[0].close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("installed", [[], ["libvirtd"]])
def test_no_socket(tmp_path: Path, installed: list[str]) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in installed:
        (bin_folder / name).touch(0o755)
    with start(tmp_path / "none", PATH=str(bin_folder), START_SECONDS=0.3) as process:
        _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    expected = {"daemons": installed, "driver": False, "socket": "", "error": ""}
    assert json.loads(err) == expected


def test_a_socket_that_may_not_be_used_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        def __init__(self, *_: object) -> None: ...

        def connect(self, path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", path)

        def close(self) -> None: ...

    monkeypatch.setattr("socket.socket", Refusing)
    monkeypatch.setattr(relay, "SOCKETS", ("/run/libvirt/libvirt-sock",))
    assert relay.connect(True) == (None, "", "/run/libvirt/libvirt-sock: Permission denied")


def test_a_socket_without_a_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
    with start(tmp_path / "sock", PATH="") as process:
        _, err = process.communicate(timeout=10)
    assert json.loads(err)["error"] == f"{tmp_path}/sock: Connection refused"


def test_a_stream_that_closes_roughly_has_ended() -> None:
    seen: list[bytes] = []
    pieces = iter([b"call", b""])

    def broken(_: bytes) -> None:
        raise ConnectionResetError

    relay.pump(lambda _: next(pieces), seen.append, broken)
    assert seen == [b"call"]


def test_a_daemon_that_closed_first_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def shutdown(_: int) -> None:
        done.set()
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def recv(_: int) -> bytes:
        assert done.wait(10)
        return b""

    def read(_file: int, _size: int) -> bytes:
        return b""

    ended: list[int] = []
    server = SimpleNamespace(shutdown=shutdown, recv=recv, sendall=None)
    monkeypatch.setattr(relay, "connect", lambda _: (server, "/socket", ""))
    monkeypatch.setattr(relay, "tell", lambda _: None)
    with monkeypatch.context() as context:
        context.setattr(os, "read", read)
        context.setattr(os, "_exit", ended.append)
        threads = {*threading.enumerate()}
        relay.main(TAG)
        for thread in {*threading.enumerate()} - threads:
            thread.join(10)
    assert ended == [0]
