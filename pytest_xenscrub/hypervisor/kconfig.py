# SPDX-License-Identifier: MIT
"""`--xen-config=KEY=VALUE`: sets options of Xen's Kconfig, and checks that they were taken."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_xenscrub.errors import ConfigurationError


@dataclass(frozen=True, order=True)
class KconfigOption:
    """One option of Kconfig.

    Attributes:
        key: the option's name without `CONFIG_`.
        value: the value as in `.config`: `y`, `n`, a number, or a quoted text.
    """

    key: str
    value: str

    @property
    def line(self) -> str:
        """The line of `.config` that sets the option."""
        if self.value == "n":
            return f"# CONFIG_{self.key} is not set"
        return f"CONFIG_{self.key}={self.value}"

    def held_by(self, config: str) -> bool:
        """Whether a `.config` has the option; a missing option counts as `n`."""
        found = re.search(rf"^CONFIG_{self.key}=(.*)$", config, re.M)
        return (found[1] if found else "n") == self.value


def parse_option(text: str) -> KconfigOption:
    """Parse KEY=VALUE; KEY may begin with `CONFIG_`.

    Raises:
        ConfigurationError: the text has another form.
    """
    match = re.fullmatch(r"(?:CONFIG_)?([A-Z0-9_]+)=(.+)", text)
    if match is None:
        raise ConfigurationError(
            f"--xen-config={text}: not KEY=VALUE", todo="for example --xen-config=DEBUG=y"
        )
    key, value = match.groups()
    if not re.fullmatch(r"[yn]|-?\d+|0x[0-9a-fA-F]+|\".*\"", value):
        value = f'"{value}"'
    return KconfigOption(key, value)


def with_options(config: str, options: tuple[KconfigOption, ...]) -> str:
    """Set options in a `.config`, in place of their earlier values."""
    for option in options:
        config = re.sub(rf"^(# )?CONFIG_{option.key}[ =].*\n", "", config, flags=re.M)
    return config + "".join(f"{option.line}\n" for option in options)


def check_taken(config: str, options: tuple[KconfigOption, ...]) -> None:
    """Check that Kconfig has taken the options.

    Raises:
        ConfigurationError: Kconfig dropped or changed options; the error names them.
    """
    dropped = [option.line for option in options if not option.held_by(config)]
    if dropped:
        raise ConfigurationError(
            f"Kconfig did not take: {', '.join(dropped)}",
            tried="make olddefconfig",
            todo="the tree does not know the option, or what it depends on is off: "
            "give that as --xen-config too",
        )
