# SPDX-License-Identifier: MIT
"""Ways to a machine that are not plain: IPv6, jump hosts, limits of sshd, odd homes; real sshds."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from fakehost.sshd import Server
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.hosts_file import load_hosts
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target, parse_target

from .reaching import reach

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    gate = Server(tmp_path / "gate")
    yield gate
    gate.close()


def soon() -> Deadline:
    return Deadline.after(30, "echo")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as free:
            free.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
def test_an_ipv6_address(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", address="::1")
    try:
        anywhere = server.config("*", server.identity, known=server.known)
        anywhere = "\n".join(
            line for line in anywhere.splitlines() if line.split()[0] not in ("HostName", "Port")
        )
        target = parse_target(f"[::1]:{server.port}")
        assert reach(tmp_path, anywhere, target=target) == "reached\n"
        file = tmp_path / "labs.toml"
        file.write_text(f'[hosts.lab6]\naddress = "::1"\nport = {server.port}\n')
        assert reach(tmp_path, anywhere, target=load_hosts(file)[0].target) == "reached\n"
        with pytest.raises(InfrastructureError, match=r"\[::1\]:1 refused the connection"):
            reach(tmp_path, anywhere, target=parse_target("[::1]:1"))
    finally:
        server.close()


def test_a_proxy_command(server: Server, gate: Server, tmp_path: Path) -> None:
    through = f"ProxyCommand ssh -F {tmp_path}/ssh_config -W %h:%p gate"
    configs = (
        server.config("lab", server.identity, through, known=server.known),
        gate.config("gate", gate.identity, known=gate.known),
    )
    assert reach(tmp_path, *configs) == "reached\n"
    assert "Accepted publickey" in (gate.folder / "log").read_text()


@pytest.mark.parametrize("way", ["ProxyJump gate", "ProxyCommand ssh -F {config} -W %h:%p gate"])
def test_what_is_on_the_way_is_not_taken_for_the_machine(
    server: Server, gate: Server, tmp_path: Path, way: str
) -> None:
    way = way.format(config=tmp_path / "ssh_config")
    lab = server.config("lab", server.identity, way, known=server.known)
    gate.close()
    with pytest.raises(InfrastructureError) as caught:
        reach(tmp_path, lab, gate.config("gate", gate.identity, known=gate.known))
    assert "lab's jump host or ProxyCommand refused the connection" in str(caught.value)
    assert f"port {gate.port}" in str(caught.value)


def test_a_proxy_command_that_says_nothing(server: Server, tmp_path: Path) -> None:
    lab = server.config("lab", server.identity, "ProxyCommand false", known=server.known)
    with pytest.raises(InfrastructureError, match="lab was closed before its sshd") as caught:
        reach(tmp_path, lab)
    assert "ProxyCommand is on the way" in caught.value.todo


def test_a_machine_that_the_jump_host_cannot_reach(
    server: Server, gate: Server, tmp_path: Path
) -> None:
    lab = server.config("lab", server.identity, "ProxyJump gate", known=server.known)
    server.close()
    with pytest.raises(InfrastructureError, match=r"^lab refused the connection"):
        reach(tmp_path, lab, gate.config("gate", gate.identity, known=gate.known))


def test_a_jump_host_that_forwards_nothing(server: Server, tmp_path: Path) -> None:
    gate = Server(tmp_path / "gate", lines=["AllowTcpForwarding no"])
    lab = server.config("lab", server.identity, "ProxyJump gate", known=server.known)
    try:
        with pytest.raises(InfrastructureError, match="on the way to lab forwards no connections"):
            reach(tmp_path, lab, gate.config("gate", gate.identity, known=gate.known))
    finally:
        gate.close()


def test_a_folder_for_temporary_files_that_is_too_deep_for_a_socket(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    own = f"ControlMaster auto\n  ControlPath {deep}/%r@%h:%p"
    config = server.config("lab", server.identity, own, known=server.known)
    assert reach(tmp_path, config) == "reached\n"
    assert list(deep.iterdir()) == []


def test_a_control_path_of_the_jump_host_that_is_too_long(
    server: Server, gate: Server, tmp_path: Path
) -> None:
    own = f"ControlMaster auto\n  ControlPath {tmp_path}/{'d' * 120}/%r@%h:%p"
    configs = (
        server.config("lab", server.identity, "ProxyJump gate", known=server.known),
        gate.config("gate", gate.identity, own, known=gate.known),
    )
    with pytest.raises(InfrastructureError, match="ControlPath") as caught:
        reach(tmp_path, *configs)
    assert "%C" in caught.value.todo


@pytest.mark.parametrize("option", ["StrictHostKeyChecking accept-new", "UpdateHostKeys yes"])
def test_a_folder_of_known_keys_that_cannot_be_written(
    server: Server, tmp_path: Path, option: str
) -> None:
    """Nobody writes to /proc, root neither."""
    config = server.config("lab", server.identity, option, known=server.known)
    config = config.replace(
        "GlobalKnownHostsFile /dev/null", f"GlobalKnownHostsFile {tmp_path}/all"
    )
    config = config.replace(f"{server.folder}/known", "/proc/ssh/known_hosts")
    (tmp_path / "all").write_text("" if "accept-new" in option else server.known)
    assert reach(tmp_path, config) == "reached\n"


def test_an_unknown_key_with_a_folder_that_cannot_be_written(
    server: Server, tmp_path: Path
) -> None:
    config = server.config("lab", server.identity, known="")
    config = config.replace(f"{server.folder}/known", "/proc/ssh/known_hosts")
    with pytest.raises(InfrastructureError, match="the host key of lab is not known"):
        reach(tmp_path, config)


def test_an_sshd_that_has_one_session_for_each_connection(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", lines=["MaxSessions 1"])
    path = tmp_path / "ssh_config"
    path.write_text(server.config("lab", server.identity, known=server.known))
    host = SshHost(Target("lab"), config=path)
    try:
        agent = host.popen(["cat"])
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(b"one\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == b"one\n"
        for number in range(3):
            done = host.run(
                ["sh", "-c", f"echo {number}; exit {number}"], deadline=soon(), check=False
            )
            assert (done.returncode, done.stdout, done.stderr) == (number, f"{number}\n", "")
        agent.stdin.write(b"two\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == b"two\n"
        agent.communicate()
        host.put(path, str(tmp_path / "copy"), deadline=soon())
        assert (tmp_path / "copy").read_text() == path.read_text()
    finally:
        host.close()
        server.close()
