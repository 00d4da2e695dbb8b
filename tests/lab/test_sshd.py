# SPDX-License-Identifier: MIT
"""Hosts reached through a real sshd on this machine, as a user's own ssh reaches them."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fakehost.sshd import Server, keygen
from pytest_xenscrub.dom0 import lock
from pytest_xenscrub.dom0.lock import Holder, HostLock
from pytest_xenscrub.errors import HostLockedError, InfrastructureError
from pytest_xenscrub.host import spawn
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

from .reaching import reach

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_host_that_is_known(server: Server, tmp_path: Path) -> None:
    config = server.config("lab", server.identity, known=server.known)
    assert reach(tmp_path, config) == "reached\n"


def test_an_unknown_host_key_is_refused_and_the_command_accepts_it(
    server: Server, tmp_path: Path
) -> None:
    config = server.config("lab", server.identity, known="")
    with pytest.raises(InfrastructureError, match="the host key of lab is not known") as caught:
        reach(tmp_path, config)
    assert (server.folder / "known").read_text() == ""
    command = caught.value.todo.partition("fingerprint: ")[2]
    # Who types it is asked, and says yes; nobody is there to be asked here.
    command = command.replace("=ask", "=accept-new")
    subprocess.run(shlex.split(command), check=True, stdin=subprocess.DEVNULL)
    assert reach(tmp_path, config) == "reached\n"


def test_a_changed_host_key_is_refused_and_the_command_forgets_the_old_one(
    server: Server, tmp_path: Path
) -> None:
    other = keygen(tmp_path / "other")
    config = server.config("lab", server.identity, known=f"[127.0.0.1]:{server.port} {other}\n")
    with pytest.raises(InfrastructureError, match="is not the one that is known") as caught:
        reach(tmp_path, config)
    command = caught.value.todo.partition("old key: ")[2]
    assert command.startswith("ssh-keygen ")
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert other not in (server.folder / "known").read_text()
    with pytest.raises(InfrastructureError, match="is not known"):
        reach(tmp_path, config)


def test_no_password_is_asked_for(server: Server, tmp_path: Path) -> None:
    keygen(tmp_path / "wrong")
    config = server.config("lab", f"IdentityFile {tmp_path}/wrong", known=server.known)
    begun = time.monotonic()
    with pytest.raises(InfrastructureError, match="lab refused every key"):
        reach(tmp_path, config)
    assert time.monotonic() - begun < 10


def test_a_lock_ends_with_its_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run has the machine, another waits, the first one's connection dies: it is taken over."""
    monkeypatch.setattr(lock, "PATH", str(tmp_path / "lock"))
    path = tmp_path / "ssh_config"
    path.write_text(server.config("lab", server.identity, known=server.known))
    hosts = [SshHost(Target("lab"), config=path) for _ in range(2)]
    said: list[str] = []
    first, second = (
        HostLock(
            host, Holder(f"xenscrub-00000{n}", "alice", "desk3", "noon", "a test"), said.append
        )
        for n, host in enumerate(hosts, 1)
    )
    try:
        first.acquire(0)
        with pytest.raises(HostLockedError, match="lab is in use by xenscrub-000001 of alice"):
            second.acquire(0)
        # What is left of a run that was killed: nothing here, and a file there.
        threading.Timer(1, hosts[0].disconnect).start()
        second.acquire(20)
        assert "waiting for xenscrub-000001" in said[0]
        assert "taken over from a run that is dead, xenscrub-000001" in said[1]
        with pytest.raises(HostLockedError, match="xenscrub-000002"):
            first.again()
        second.release()
        assert not (tmp_path / "lock").exists()
        first.again()
        assert first.held
    finally:
        first.release()
        for host in hosts:
            host.close()


def test_a_key_of_the_users_agent(server: Server, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    process = spawn.spawn_tied(["ssh-agent", "-D", "-a", str(agent)])
    try:
        while not agent.exists():
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        subprocess.run(["ssh-add", "-q", str(server.folder / "key")], env=environment, check=True)
        config = server.config("lab", known=server.known)
        config = config.replace("IdentitiesOnly yes", "IdentitiesOnly no")
        config = config.replace("IdentityAgent none", f"IdentityAgent {agent}")
        assert reach(tmp_path, config) == "reached\n"
    finally:
        spawn.end(process)


def test_a_host_behind_a_jump_host(server: Server, tmp_path: Path) -> None:
    jump = Server(tmp_path / "jump")
    try:
        configs = (
            server.config("lab", server.identity, "ProxyJump gate", known=server.known),
            jump.config("gate", jump.identity, known=jump.known),
        )
        assert reach(tmp_path, *configs) == "reached\n"
        assert "Accepted publickey" in (jump.folder / "log").read_text()
        # The jump host's key counts too, and nobody is asked for it.
        configs = (configs[0], jump.config("gate", jump.identity, known=""))
        with pytest.raises(InfrastructureError, match="host key"):
            reach(tmp_path, *configs)
    finally:
        jump.close()
