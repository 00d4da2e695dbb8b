# SPDX-License-Identifier: MIT
"""The table of mistakes and faults; `test_bad_inputs.py` tries each."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from bad_input import EMULATED, NAMELESS, Bad, Setup

from pytest_xenscrub.limits import Memory

if TYPE_CHECKING:
    import pytest

BINARY = bytes(range(256)) * 8
HUGE = "9" * 5000
LISTED = "--xen-hosts-file=hosts.toml"
STOCK = (EMULATED, "--xen-variant=stock")
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "SUDO_UID": None}
NOT_XEN = "has no xen/Makefile"
MAKEFILE = (
    "export XEN_VERSION = 4\nexport XEN_SUBVERSION = 17\n"
    "defconfig:\n\t@echo CONFIG_X86=y > .config\nolddefconfig:\n\t@sed -i /UNKNOWN/d .config\n"
)
TREE: dict[str, str | bytes] = {
    "tree/xen/Makefile": MAKEFILE,
    "tree/xen/include/public/domctl.h": "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000015\n",
    "tree/xen/include/public/sysctl.h": "#define XEN_SYSCTL_INTERFACE_VERSION 0x00000014\n",
}
RECORDS = """
from pytest_xenscrub.scrub.row import Row, Setting
from pytest_xenscrub.run.stash import SESSION

def test_it(request):
    setting = Setting("test_it", "emulated", "emulated (TCG)", "xl", "stock", "4.17", debug=False,
                      build_id="c0ffee")
    row = Row(setting, 0, "destroy", 1 << 30, 2)
    request.config.stash[SESSION].records.pytest_xenscrub_row(row)
"""
# What follows runs where files below the folder no-locks cannot be locked.
NO_LOCKS = ("env", "LD_PRELOAD={here}/no_locks.so")
# What follows runs with one page of disk in the folder of that name.
SMALL_DISK = (
    "unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c",
    'mount -t tmpfs -o size=4k none "$0" && exec "$@"', "{here}/disk",
)  # fmt: skip


# -- what has to be set up -------------------------------------------------------------------------


def closed_file(name: str) -> Setup:
    def setup(here: Path, _: pytest.MonkeyPatch) -> None:
        (here / name).chmod(0)

    return setup


def closed_folder(here: Path, _: pytest.MonkeyPatch) -> None:
    here.chmod(0o555)


def disk(here: Path, _: pytest.MonkeyPatch) -> None:
    (here / "disk").mkdir()


def no_locks(here: Path, _: pytest.MonkeyPatch) -> None:
    source = Path(__file__).with_name("no_locks.c")
    command = ["gcc", "-shared", "-fPIC", "-o", here / "no_locks.so", source]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    (here / "no-locks").mkdir()


def git(here: Path, *arguments: str) -> None:
    config = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    subprocess.run(["git", *config, *arguments], cwd=here, check=True, capture_output=True)


def repository(here: Path, _: pytest.MonkeyPatch) -> None:
    git(here, "init", "-q", "repo")
    (here / "repo/README").write_text("no Xen")
    git(here / "repo", "add", "README")
    git(here / "repo", "commit", "-q", "-m", "first")


def anothers_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(here, monkeypatch)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try this


def tarball(here: Path, _: pytest.MonkeyPatch) -> None:
    with tarfile.open(here / "xen.tar.gz", "w:gz") as tar:
        tar.add(here / "test_it.py", "xen-4.17/README")


def cut_tarball(here: Path, _: pytest.MonkeyPatch) -> None:
    (here / "xen.tar.gz").write_bytes(gzip.compress(os.urandom(20000))[:9000])


def pipe(here: Path, _: pytest.MonkeyPatch) -> None:
    os.mkfifo(here / "pipe")


def no_matplotlib(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)


def container(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Memory(1 << 30, "the memory limit of this container (/sys/fs/cgroup)")
    monkeypatch.setattr(
        "pytest_xenscrub.host.emulated.ram_choice.available_memory", lambda: limited
    )


def nowhere_for_sockets(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_xenscrub.host.rundir._parents", lambda: ["/proc/no"])


def fake_compiler(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bin").mkdir()
    for name in ("gcc", "flex", "bison"):
        (here / "bin" / name).write_text("#!/bin/sh\necho fake\n")
        (here / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}/bin", prepend=":")


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# -- the table -------------------------------------------------------------------------------------


def argument(name: str, option: str, words: str, **more: object) -> Bad:
    return Bad(name, (f"--xen-{option}",), words, **more)  # type: ignore[arg-type]


def hosts(name: str, text: str | bytes, words: str) -> Bad:
    return Bad(f"hosts file: {name}", (LISTED,), words, files={"hosts.toml": text})


def variant(name: str, files: dict[str, str | bytes], spec: str, words: str) -> Bad:
    return Bad(f"variant: {name}", (EMULATED, f"--xen-variant={spec}"), words, files=files)


def source(name: str, spec: str, words: str, **more: object) -> Bad:
    arguments = (*STOCK, f"--xen-source={spec}")
    return Bad(f"source: {name}", arguments, words, **more)  # type: ignore[arg-type]


def ssh(name: str, host: str, words: str, **more: object) -> Bad:
    arguments = (f"--xen-host={host}", "--xen-ssh-config=ssh")
    files = {"ssh": "Host *\n  UserKnownHostsFile /dev/null\n"}
    return Bad(f"ssh: {name}", arguments, words, 75, files=files, **more)  # type: ignore[arg-type]


VALUES = (
    argument("a size in words", "host-memory=big", "'big' is not a size"),
    argument("a size of nothing", "guest-memory=", "'' is not a size"),
    argument("a negative size", "host-memory=-1G", "is not a size"),
    argument("a size with an exponent", "guest-memory=1e9", "is not a size"),
    argument("a size in other digits", "guest-memory=٣G", "is not a size"),
    argument("a size of 5000 digits", f"host-memory={HUGE}", "is not a size"),
    argument("a size in no ASCII", "host-memory=größe", "is not a size"),
    argument("a host of 1 MiB", "host-memory=1M", "is too little"),
    argument("a host of 9 TiB", "host-memory=9T", "is too much"),
    argument("a limit in words", "host-ram-limit=half", "'half' is not a size"),
    argument("a guest of 1 MiB", "guest-memory=1M", "is too little"),
    argument("a host in a bracket", "host=[fd00::7", "the bracket is not closed"),
    argument("a host of nothing", "host=", "is not a host"),
    argument("port 0", "host=lab7:0", "'0' is not a port number"),
    argument("port 70000", "host=lab7:70000", "'70000' is not a port number"),
    argument("a port of 5000 digits", f"host=lab7:{HUGE}", "is not a port number"),
    argument("a host that is an option", "host=-oProxyCommand=x", "is not a host"),
    argument("no repeats", "repeat=0", "is not a number of repeats"),
    argument("repeats of 5000 digits", f"repeat={HUGE}", "is not a number of repeats"),
    argument("no CPU at all", "host-cpus=0", "is not a number of CPUs"),
    argument("negative nodes", "host-nodes=-1", "is not a number of NUMA nodes"),
    argument("a time that is none", "lock-wait=nan", "is not a time"),
    argument("a time beyond all patience", "lock-wait=1e300", "is not a time"),
    argument("a share above all", "min-coverage=101%", "is not a share"),
    argument("exposure without end", "max-exposure=inf", "is not a number above 0"),
    argument("a toolstack nobody has", "toolstack=xapi", "is not one of"),
    argument("a suite nobody has", "suite=sid", "is not one of"),
    argument("boot options of two lines", "cmdline=a\nb", "is not a line of boot options"),
    argument("a power command cut short", "power=ipmitool 'x", "is no power command"),
    argument("a power command of no program", "power=/no/such {action}", "there is no program"),
    argument("a serial command of a wrong name", "serial=cat {console}", "means nothing here"),
    argument("a limit of no metric", "fail-if=speed:median:10%", "is not one of"),
    argument("a limit without an earlier run", "fail-if=destroy:median:10%", "--xen-compare"),
    argument("Kconfig without a value", "config=DEBUG", "not KEY=VALUE"),
    argument("Kconfig in small letters", "config=debug=y", "not KEY=VALUE"),
    argument("Kconfig that nobody builds", "config=DEBUG=y", "for a Xen that is built"),
    argument("control in the ini file", "host=emulated", "neither yes nor no",
             ini="xen_control = maybe"),
    argument("allow-busy in the environment", "host=emulated", "neither yes nor no",
             env={"PYTEST_XEN_ALLOW_BUSY": "perhaps"}),
)  # fmt: skip

FILES = (
    argument("results in a folder that is missing", "results=no/results", "cannot be written"),
    argument("results that are a folder", "results=.", "cannot be written"),
    argument("results of no name", "results=", "name is missing"),
    argument("results in a pipe", "results=pipe", "it is a pipe", setup=pipe),
    argument("results of too long a name", f"results={'x' * 300}", "File name too long"),
    argument("results in nobody's home", "results=~nobody7/results", "home is not known"),
    Bad("results that may not be written", ("--xen-results=results",), "Permission denied",
        files={"results": ""}, setup=closed_file("results"), prefix=NAMELESS),
    Bad("results on a full disk", (EMULATED, "--xen-results=/dev/full"), "No space left", 75,
        test=RECORDS),
    Bad("results: no file locks", (EMULATED, "--xen-results={here}/no-locks/r.jsonl"),
        "a result could not be written: No locks available", 75, setup=no_locks, prefix=NO_LOCKS,
        test=RECORDS),
    argument("an earlier run that is not there", "compare=no", "there is no such file"),
    argument("an earlier run that is a folder", "compare=.", "it is not a file"),
    argument("an earlier run in binary", "compare=old", "not text", files={"old": BINARY}),
    argument("an earlier run of another program", "compare=old", "no result",
             files={"old": '{"benchmarks": []}\n'}),
    argument("an earlier run of nothing", "compare=old", "there is no result in it",
             files={"old": ""}),
    Bad("an earlier run that may not be read", ("--xen-compare=old",), "may not read it",
        files={"old": ""}, setup=closed_file("old"), prefix=NAMELESS),
    argument("logs in a file", "logs=test_it.py", "cannot be made"),
    argument("logs below a file", "logs=test_it.py/logs", "cannot be made"),
    argument("plots in a file", "plots=test_it.py", "cannot be made"),
    argument("plots without matplotlib", "plots=out", "pip install", setup=no_matplotlib),
    argument("a page that is a folder", "html=.", "it is not a file"),
    argument("a page in no folder", "html=no/page.html", "cannot be written"),
    argument("a page without jinja2", "html=page.html", "pip install", setup=no_matplotlib),
    Bad("a page that may not be written", ("--xen-html=page.html",), "cannot be written",
        setup=closed_folder, prefix=NAMELESS),
    Bad("a page on a full disk", (EMULATED, "--xen-html={here}/disk/page.html"), "No space left",
        setup=disk, prefix=SMALL_DISK),
    argument("a profile in place of tests", "profile=test_it.py", "these are tests"),
    argument("an ssh configuration that is not there", "ssh-config=no", "there is no such file"),
    argument("a hosts file that is a folder", "hosts-file=.", "it is not a file"),
)  # fmt: skip

HOSTS_FILES = (
    hosts("binary", BINARY, "not text"),
    hosts("no TOML", "[hosts.lab7\n", "line 1"),
    hosts("empty", "", "it names no host"),
    hosts("another table", "[host.lab7]\n", "did you mean hosts?"),
    hosts("a wrong key", '[hosts.lab7]\nadress = "x"\n', "did you mean address?"),
    hosts("port 0", "[hosts.lab7]\nport = 0\n", "is not a port number"),
    hosts("a port in words", '[hosts.lab7]\nport = "ssh"\n', "is not a port number"),
    hosts("tags that are no list", '[hosts.lab7]\ntags = "numa"\n', "is not a list"),
    hosts("a host that is not a table", '[hosts]\nlab7 = "x"\n', "it is not a table"),
    hosts("emulated", "[hosts.emulated]\n", "that is not a machine"),
    hosts("power without an action", '[hosts.lab7]\npower = "true"\n', "it lacks {action}"),
    Bad("hosts file: one machine twice", (LISTED, "--xen-host=lab7", "--xen-host=lab7"), "twice",
        files={"hosts.toml": "[hosts.lab7]\n"}),
    Bad("hosts file: emulated among others", (EMULATED, "--xen-host=lab7"), "one of several"),
)  # fmt: skip

VARIANTS = (
    variant("no such", {}, "no-such", "neither a variant's name nor a file"),
    variant("of no name", {}, "", "is missing"),
    variant("an empty file", {"a.patch": ""}, "a.patch", "no patch in it"),
    variant("a folder of nothing", {"series/": ""}, "series/", "no patch in it"),
    variant("a letter", {"a.patch": "Dear list,\n"}, "a.patch", "no patch in it"),
    variant("binary", {"a.patch": BINARY}, "a.patch", "is not text"),
    variant("a .cocci that is a folder", {"a.cocci/": ""}, "a.cocci", "Is a directory"),
    variant("a series that names nothing", {"s/series": "a.patch\n"}, "s", "which is not there"),
    variant("a series in binary", {"s/series": BINARY}, "s", "s"),
    variant("a series with a lone quote", {"s/series": "'a\n"}, "s", "s"),
    variant("of too long a name", {}, "x" * 300, "File name too long"),
    Bad("variant: twice", (*STOCK, "--xen-variant=stock"), "two variants of the name 'stock'"),
)  # fmt: skip

SOURCES = (
    source("no such", "/no/such", "no such folder or file"),
    source("a folder without Xen", ".", NOT_XEN),
    source("a Makefile without a version", "tree", "no Xen version found",
           files={**TREE, "tree/xen/Makefile": "all:\n"}),
    source("without public headers", "tree", "not a Xen source tree",
           files={"tree/xen/Makefile": MAKEFILE}),
    source("a file that is no tarball", "test_it.py", "could not be unpacked"),
    source("a tarball that is cut", "xen.tar.gz", "could not be unpacked", setup=cut_tarball),
    source("a tarball without Xen", "xen.tar.gz", NOT_XEN, setup=tarball),
    source("a revision that is not there", "repo#no-such", "has no revision no-such",
           setup=repository, env=GIT),
    source("a revision that is an option", "repo#--all", "has no revision --all",
           setup=repository, env=GIT),
    source("a revision without Xen", "repo#HEAD", NOT_XEN, setup=repository, env=GIT),
    source("no repository", ".#main", "not a git repository", env=GIT),
    source("another's repository", "repo#HEAD", "dubious ownership", status=75,
           setup=anothers_repository, env=GIT, lines=12),
    source("an address of nothing", "file:///no/such#main", "could not be cloned", status=75,
           env=GIT),
    Bad("source: an option that Kconfig does not know",
        (*STOCK, "--xen-source=tree", "--xen-config=UNKNOWN=y"), "Kconfig did not take",
        files=TREE, setup=fake_compiler),
)  # fmt: skip

MACHINES = (
    ssh("a refused connection", f"127.0.0.1:{closed_port()}", "refused the connection"),
    ssh("a name that cannot be resolved", "a" * 70, "cannot be resolved"),
    Bad("ssh: a configuration that ssh refuses", ("--xen-host=lab7", "--xen-ssh-config=ssh"),
        "Bad configuration option", 75, files={"ssh": "Nonsense yes\n"}, lines=9),
    Bad("ssh: a proxy that dies", ("--xen-host=lab7", "--xen-ssh-config=ssh"),
        "closed before its sshd said a word", 75, files={"ssh": "Host *\n  ProxyCommand false\n"}),
    ssh("a uid without a name", f"127.0.0.1:{closed_port()}", "this uid has none",
        prefix=NAMELESS, env={"HOME": "/"}),
)  # fmt: skip

ENVIRONMENTS = (
    Bad("cache: a file in its place", (EMULATED,), "the cache cannot be written", 75,
        files={"cache": ""}, env={"XDG_CACHE_HOME": "{here}/cache"}),
    Bad("cache: HOME may not be written", (EMULATED,), "the cache cannot be written", 75,
        env={"XDG_CACHE_HOME": None, "HOME": "{here}"}, setup=closed_folder, prefix=NAMELESS),
    Bad("cache: closed to this user", (EMULATED,), "Permission denied", 75, prefix=NAMELESS,
        files={"cache/pytest-xenscrub/": ""}, env={"XDG_CACHE_HOME": "{here}/cache"},
        setup=closed_file("cache")),
    Bad("cache: its disk is full", (EMULATED,), "No space left", 75, setup=disk,
        env={"XDG_CACHE_HOME": "{here}/disk"}, prefix=SMALL_DISK),
    Bad("cache: no file locks", (EMULATED,), "the cache cannot be written: No locks available", 75,
        setup=no_locks, env={"XDG_CACHE_HOME": "{here}/no-locks"}, prefix=NO_LOCKS),
    Bad("image: no user namespaces", (EMULATED,), "this user may not create user namespaces", 75,
        prefix=NAMELESS),
    Bad("cache: no HOME, and no name", (EMULATED,), "there is no folder for caches", 75,
        env={"XDG_CACHE_HOME": None, "HOME": None}, prefix=NAMELESS),
    Bad("cache: read-only", (EMULATED,), "the cache cannot be written", 75,
        env={"XDG_CACHE_HOME": "/proc"}),
    Bad("memory: less than was asked for", (EMULATED, "--xen-host-memory=3G"),
        "512 MiB, half of what is available by the memory limit of this container", 75,
        setup=container),
    Bad("memory: more than there is may be taken", (EMULATED, "--xen-host-ram-limit=3G"),
        "1.00 GiB are available by the memory limit of this container", 75, setup=container),
    Bad("memory: too little in this container", (EMULATED,), "too little memory", 75,
        setup=container),
    Bad("sockets: nowhere to put them", ("--xen-host=127.0.0.1:9",), "set TMPDIR", 75,
        setup=nowhere_for_sockets),
    Bad("output: a terminal without umlauts", ("--xen-host-memory=größe",), "is not a size",
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, prefix=("env",)),
)  # fmt: skip

TABLE = (*VALUES, *FILES, *HOSTS_FILES, *VARIANTS, *SOURCES, *MACHINES, *ENVIRONMENTS)
