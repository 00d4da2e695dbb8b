# SPDX-License-Identifier: MIT
from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import CommandError, DeadlineExceededError, InfrastructureError
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeHost = Callable[[str], SshHost]

# An ssh that runs commands here: the master makes its socket, `-O check` says if it lives.
WORKING = """
for word in "$@"; do
    case "$word" in ControlPath=*) socket=${word#ControlPath=} ;; esac
    last=$word
done
case " $* " in
    *" -O check "*) [ ! -e "$socket.lost" ] && [ -e "$socket" ]; exit ;;
    *" -O exit "*) rm -f "$socket"; exit 0 ;;
    *" -N "*) : > "$socket"; while [ -e "$socket" ]; do sleep 0.05; done; exit 0 ;;
esac
eval "$last"
"""


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHost]:
    """Makes a host whose ssh is the shell script given."""
    hosts: list[SshHost] = []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("pytest_xenscrub.host.rundir._BASE_MAX", 200)

    def make(script: str) -> SshHost:
        ssh = tmp_path / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(f"#!/bin/sh\n{script}\n")
        ssh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{ssh.parent}:/usr/bin:/bin")
        hosts.append(SshHost(Target("lab7", "root"), serial=lambda _: "(XEN) last words"))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
        host.close()


def test_silence_of_a_host_that_may_stand_still_ends_no_connection(make_host: MakeHost) -> None:
    usual = " ".join(make_host("exit 0").ssh_command(["true"]))
    assert "ServerAliveInterval=5" in usual
    with contextlib.closing(SshHost(Target("lab7"), patient=True)) as host:
        patient = " ".join(host.ssh_command(["true"]))
    assert "ServerAliveInterval=0" in patient
    assert "ServerAliveCountMax" not in patient


def soon(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds, "a step")


@pytest.mark.parametrize(
    ("said", "what", "todo"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "is not the one", "ssh-keygen -R lab7"),
        ("No ED25519 host key is known for lab7\nHost key verification failed.",
         "is not known", "compare the fingerprint"),
        ("root@lab7: Permission denied (publickey).", "refused every key", "ssh-add"),
        ("ssh: connect to host lab7 port 22: Connection refused", "nothing listens", "port"),
        ("ssh: Could not resolve hostname lab7: Name or service not known",
         "cannot be resolved", "spelling"),
        ("ssh: connect to host lab7 port 22: Connection timed out", "does not answer", "is up"),
        ("something new", "could not connect", "ssh -v"),
    ],
)  # fmt: skip
def test_each_cause_has_its_sentence(make_host: MakeHost, said: str, what: str, todo: str) -> None:
    host = make_host(f"echo '{said}' >&2; exit 255")
    with pytest.raises(InfrastructureError, match=what) as caught:
        host.run(["true"], deadline=soon())
    assert todo in caught.value.todo
    assert said.splitlines()[0] in str(caught.value)


def test_a_host_that_never_answers_is_infrastructure(make_host: MakeHost) -> None:
    host = make_host("exec sleep 30")
    with pytest.raises(InfrastructureError, match="does not answer"):
        host.run(["true"], deadline=soon(0.3))


def test_words_arrive_as_they_were_given(make_host: MakeHost) -> None:
    host = make_host(WORKING)
    words = ["a b", "$HOME", "it's", "*", ""]
    result = host.run(["printf", "<%s>", *words], deadline=soon())
    assert result.stdout == "".join(f"<{word}>" for word in words)


def test_a_failed_command_says_what_it_was(make_host: MakeHost) -> None:
    host = make_host(WORKING)
    with pytest.raises(CommandError, match="returned 3") as caught:
        host.run(["sh", "-c", "echo bad >&2; exit 3"], deadline=soon())
    assert "bad" in str(caught.value)
    assert host.run(["false"], deadline=soon(), check=False).returncode == 1


def test_255_of_a_command_is_the_commands(make_host: MakeHost) -> None:
    host = make_host(WORKING)
    assert host.run(["sh", "-c", "exit 255"], deadline=soon(), check=False).returncode == 255


def test_255_of_a_lost_connection_is_infrastructure(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(WORKING)
    host.run(["true"], deadline=soon())
    (socket,) = tmp_path.glob("xenscrub-*/run-*/s")
    socket.with_name("s.lost").touch()
    with pytest.raises(InfrastructureError, match="was lost") as caught:
        host.run(["sh", "-c", "exit 255"], deadline=soon(), check=False)
    assert "last words" in str(caught.value)


def test_a_command_that_hangs_meets_its_deadline(make_host: MakeHost) -> None:
    host = make_host(WORKING)
    with pytest.raises(DeadlineExceededError, match="a step") as caught:
        host.run(["sleep", "60"], deadline=soon(1))
    assert "last words" in str(caught.value)


def test_a_connection_that_ended_is_made_again(make_host: MakeHost) -> None:
    host = make_host(WORKING)
    host.run(["true"], deadline=soon())
    host.disconnect()
    assert host.run(["echo", "again"], deadline=soon()).stdout == "again\n"


def test_put_is_whole_keeps_its_mode_and_leaves_no_other_file(
    make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host(WORKING)
    local, remote = tmp_path / "local", tmp_path / "to here" / "it's"
    local.write_bytes(bytes(range(256)) * 1000)
    local.chmod(0o750)
    remote.parent.mkdir()
    host.put(local, str(remote), deadline=soon())
    assert remote.read_bytes() == local.read_bytes()
    assert remote.stat().st_mode & 0o777 == 0o750
    assert list(remote.parent.iterdir()) == [remote]


def test_close_leaves_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(WORKING)
    host.run(["true"], deadline=soon())
    host.close()
    assert not list(tmp_path.glob("xenscrub-*"))
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path / "bin" / "ssh") not in left.stdout


def test_a_master_that_cannot_be_asked_is_not_alive(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(WORKING)

    def hang(*_: object, timeout: float, **__: object) -> NoReturn:
        assert 0 < timeout <= 60
        raise subprocess.TimeoutExpired("ssh -O check", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert not host._alive()
    monkeypatch.undo()


def test_a_master_that_does_not_end_by_itself_is_ended(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(WORKING)
    host.run(["true"], deadline=soon())
    master = host._master
    assert master is not None

    def hang(*_: object, timeout: float, **__: object) -> NoReturn:
        assert 0 < timeout <= 10
        raise subprocess.TimeoutExpired("ssh -O exit", timeout)

    with monkeypatch.context() as context:
        context.setattr(subprocess, "run", hang)
        host.disconnect()
    assert master.poll() is not None


def test_connecting_is_no_wait_for_xen(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host(WORKING)

    def lets_it_pass(deadline: Deadline) -> NoReturn:
        raise deadline.error()

    monkeypatch.setattr(host, "connect", lets_it_pass)
    with pytest.raises(DeadlineExceededError, match="ssh root@lab7"):
        host.popen(["true"])
