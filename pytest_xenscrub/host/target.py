# SPDX-License-Identifier: MIT
"""`Target`: `[user@]host[:port]` of `--xen-host`, an IPv6 address in brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_xenscrub.errors import ConfigurationError

MAX_PORT = 65535


@dataclass(frozen=True)
class Target:
    """The address that ssh connects to; None leaves a part to the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}" + (f":{self.port}" if self.port is not None else "")


def parse_target(text: str) -> Target:
    """Parse `[user@]host[:port]`.

    Raises:
        ConfigurationError: the text is not of that form.
    """

    def wrong(why: str) -> ConfigurationError:
        return ConfigurationError(
            f"{text!r} is not a host: {why}",
            todo="write [user@]host[:port], an IPv6 address in brackets: root@[fd00::7]:2222",
        )

    user, at, rest = text.strip().rpartition("@")
    if at and (not user or user.startswith("-") or re.search(r"\s", user)):
        raise wrong("the user name before the @ is empty or odd")
    if rest.startswith("["):
        match = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%\w+)?)\](?::(.*))?", rest)
        if match is None:
            raise wrong("the bracket is not closed, or holds no IPv6 address")
        host, port_text = match.group(1), match.group(2)
    elif rest.count(":") > 1:
        host, port_text = rest, None
    else:
        host, colon, after = rest.partition(":")
        port_text = after if colon else None
    if not host or host.startswith("-") or not re.fullmatch(r"[\w.:%-]+", host):
        raise wrong("the host name is empty or has characters that no name has")
    port: int | None = None
    if port_text is not None:
        if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 0 < int(port_text) <= MAX_PORT:
            raise wrong(f"{port_text!r} is not a port number")
        port = int(port_text)
    return Target(host, user or None, port)
