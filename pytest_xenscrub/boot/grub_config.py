# SPDX-License-Identifier: MIT
"""Parses GRUB's configuration: finds the entry that runs, and makes a one-shot entry from it."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError

# Lines of 00_header. GRUB must clear the entry *before* it boots it, or it would boot it for ever.
_ONE_SHOT = (
    r"^\s*load_env\b",
    r"\[ \"\$\{next_entry\}\" \]",
    r"^\s*set default=\"\$\{next_entry\}\"",
    r"^\s*set next_entry=\s*$",
    r"^\s*save_env next_entry\b",
)
_CUSTOM = r"^\s*source\s+\S*/custom\.cfg\s*$"
_LOADER = re.compile(
    r"^(?P<command>multiboot2?)\s+(?P<flags>(?:--\S+\s+)*)(?P<path>\S+)(?P<rest>.*)$"
)
_DEVICE = re.compile(r"^\([^)]*\)")
_PLACEHOLDER = "placeholder"
# Not copied to the one-shot entry: these lines change GRUB's environment, which a single boot must
# not do, or print what the machine's own entry loads, which would be wrong.
_LEFT_OUT = {"savedefault", "recordfail", "save_env", "echo"}
_PLAIN = re.compile(r"[\w.,:=@%/+-]+")


@dataclass(frozen=True)
class Module:
    """A file that GRUB loads beside the hypervisor: dom0's kernel, its initramfs."""

    path: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class XenEntry:
    """A menu entry that boots Xen.

    Attributes:
        title: its title in the menu, after the titles of its submenus.
        body: the lines between its braces.
        hypervisor: the hypervisor's path for GRUB, which begins at the file system's root.
        options: Xen's options, as words.
        modules: the files for dom0, its kernel first.
    """

    title: str
    body: tuple[str, ...]
    hypervisor: str
    options: tuple[str, ...]
    modules: tuple[Module, ...]

    @property
    def files_path(self) -> str:
        """The hypervisor's path without a device that GRUB may name before it."""
        return _DEVICE.sub("", self.hypervisor)


def check_config(text: str, path: str) -> None:
    """Check that a `grub.cfg` honours a one-shot entry, and reads entries from `custom.cfg`.

    Raises:
        ConfigurationError: it does not; the message says what to do.
    """
    position = 0
    for pattern in _ONE_SHOT:
        match = re.compile(pattern, re.MULTILINE).search(text, position)
        if match is None:
            raise ConfigurationError(
                f"{path} does not honour GRUB's one-shot entry (next_entry), "
                "so nothing is booted: it might stay",
                tried=f"looking for {pattern}",
                todo="set GRUB_DEFAULT=saved in /etc/default/grub and run update-grub, so that "
                "Debian's 00_header writes it",
            )
        position = match.start()
    if re.search(_CUSTOM, text, re.MULTILINE) is None:
        raise ConfigurationError(
            f"{path} does not read custom.cfg, where a boot entry of our own is put",
            tried=f"looking for {_CUSTOM}",
            todo="make /etc/grub.d/41_custom executable and run update-grub",
        )


def xen_entries(text: str) -> list[XenEntry]:
    """All entries of a `grub.cfg` that boot Xen with a dom0, in the menu's order."""
    entries = []
    menus: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.match(r"\s*(menuentry|submenu|function)\b(.*)\{\s*$", line):
            title = (_words(match[2]) or ("",))[0]
            if match[1] != "menuentry":
                menus.append(title)
                continue
            body, depth = [], 1
            for inner in lines:
                depth += inner.rstrip().endswith("{") - (inner.strip() == "}")
                if depth == 0:
                    break
                body.append(inner)
            entry = _xen_entry(" > ".join([*menus, title]), body)
            if entry is not None:
                entries.append(entry)
        elif line.strip() == "}" and menus:
            menus.pop()
    return entries


def _xen_entry(title: str, body: list[str]) -> XenEntry | None:
    hypervisor = None
    options: tuple[str, ...] = ()
    modules = []
    for line in body:
        command, *arguments = _words(line) or ("",)
        words = [word for word in arguments if not word.startswith("--")]
        if not words:
            continue
        if command in ("multiboot", "multiboot2"):
            hypervisor, options = words[0], tuple(words[1:])
        elif command in ("module", "module2"):
            modules.append(Module(words[0], tuple(words[1:])))
    if hypervisor is None or not modules:
        return None
    return XenEntry(title, tuple(body), hypervisor, options, tuple(modules))


def _words(line: str) -> tuple[str, ...]:
    """Words of a line; none for an incomplete line, such as one with a quote over several lines."""
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return ()


def running_entry(
    entries: list[XenEntry], *, release: str, dom0_options: str, xen_options: str
) -> XenEntry:
    """The entry that the machine was most likely booted with.

    Args:
        entries: all entries.
        release: version of dom0's kernel, from `uname -r`.
        dom0_options: `/proc/cmdline`.
        xen_options: Xen's command line; empty if unknown.

    Raises:
        InfrastructureError: no entry boots Xen with this kernel.
    """
    fitting = [e for e in entries if PurePosixPath(e.modules[0].path).name.endswith(f"-{release}")]
    if not fitting:
        raise InfrastructureError(
            f"no boot entry of the machine boots Xen with the kernel that runs, {release}",
            todo="run update-grub, or boot the machine with a kernel that its menu has",
            evidence={"entries": "\n".join(entry.title for entry in entries)},
        )

    def likeness(entry: XenEntry) -> tuple[int, int]:
        return (
            _likeness(entry.modules[0].options, dom0_options),
            _likeness(entry.options, xen_options) if xen_options else 0,
        )

    # The first of equally likely ones: Debian's menu begins with its default.
    return max(fitting, key=likeness)


def _likeness(options: tuple[str, ...], running: str) -> int:
    """2 for the same options, 1 if `running` has more (Xen adds some to dom0's), else 0."""
    # Only GRUB knows the values of variables.
    wanted = [word for word in options if word != _PLACEHOLDER and "$" not in word]
    found = [word for word in running.split() if word != _PLACEHOLDER]
    if wanted == found:
        return 2
    return int(set(wanted) <= set(found))


def one_shot_entry(entry: XenEntry, *, identifier: str, file_name: str, xen_options: str) -> str:
    """A menu entry that boots like `entry`, but another hypervisor.

    If GRUB cannot load the hypervisor, it boots the machine's own Xen instead of stopping at its
    menu.

    Args:
        entry: the entry that the machine runs now.
        identifier: the new entry's name, for `next_entry`.
        file_name: the hypervisor's file, in the folder of the machine's own.
        xen_options: appended to the options of `entry`.

    Raises:
        ConfigurationError: the entry loads its hypervisor in a way that cannot be copied.
    """
    path = f"{entry.hypervisor.rpartition('/')[0]}/{file_name}"
    extra = "".join(f" {grub_quoted(word)}" for word in xen_options.split())
    lines = []
    for line in textwrap.dedent("\n".join(entry.body).replace("        ", "\t")).splitlines():
        stripped = line.strip()
        if re.split(r"\s", stripped)[0] in _LEFT_OUT:
            continue
        match = _LOADER.match(stripped)
        if match is None:
            lines.append(line)
            continue
        load = f"{match['command']} {match['flags']}{path}{match['rest'].rstrip()}{extra}"
        lines += [
            f"echo 'Loading {file_name} ...'",
            f"if ! {load}; then",
            "\techo 'pytest-xenscrub: GRUB cannot load this hypervisor; rebooting'",
            "\tsleep 3",
            "\treboot",
            "fi",
        ]
    if not any(line.startswith("if ! multiboot") for line in lines):
        raise ConfigurationError(
            "the machine's boot entry loads Xen in a way that cannot be copied",
            evidence={entry.title: "\n".join(entry.body)},
        )
    body = textwrap.indent("\n".join(lines), "\t")
    # With a GRUB password, GRUB asks for it at every entry without this option.
    head = f"menuentry '{identifier}' --unrestricted --id '{identifier}' {{"
    return f"{head}\n\tinsmod gzio\n{body}\n}}\n"


def grub_quoted(word: str) -> str:
    """Quote a word for GRUB's script language.

    Raises:
        ConfigurationError: the word has a quote, which cannot be passed on to Xen.
    """
    if _PLAIN.fullmatch(word):
        return word
    if "'" in word or '"' in word:
        raise ConfigurationError(f"a Xen option with a quote cannot be passed through GRUB: {word}")
    return f"'{word}'"


@dataclass(frozen=True)
class Block:
    """The tool's lines in `custom.cfg`, and what is needed to undo all changes.

    Attributes:
        tag: tag of the run that added the lines.
        original: build id of the machine's own Xen.
        created: whether there was no `custom.cfg` before.
        newline: whether a line end was added to the last line before these lines.
        had_variable: whether GRUB's environment had an empty `next_entry` before.
    """

    tag: str
    original: str
    created: bool
    newline: bool
    had_variable: bool

    def _text(self, entry: str) -> str:
        flags = " ".join(
            f"{name}={'yes' if value else 'no'}"
            for name, value in (
                ("created", self.created),
                ("newline", self.newline),
                ("had_variable", self.had_variable),
            )
        )
        return (
            f"### BEGIN pytest-xenscrub {self.tag} original={self.original} {flags} ###\n"
            f"{entry}### END pytest-xenscrub {self.tag} ###\n"
        )

    def added_to(self, text: str, entry: str) -> str:
        """`custom.cfg` with these lines at its end."""
        return text + ("\n" if self.newline else "") + self._text(entry)


def find_block(text: str, tag: str) -> tuple[Block, str] | None:
    """Find the lines in `custom.cfg`; gives them, and the rest of the file; None without them."""
    pattern = re.compile(
        rf"^### BEGIN pytest-xenscrub {re.escape(tag)} original=(\S*) created=(\w+) "
        rf"newline=(\w+) had_variable=(\w+) ###\n.*?"
        rf"^### END pytest-xenscrub {re.escape(tag)} ###\n",
        re.MULTILINE | re.DOTALL,
    )
    match = pattern.search(text)
    if match is None:
        return None
    created, newline, had_variable = (match[n] == "yes" for n in (2, 3, 4))
    before, after = text[: match.start()], text[match.end() :]
    if newline and not after:
        before = before.removesuffix("\n")
    return Block(tag, match[1], created, newline, had_variable), before + after
