# SPDX-License-Identifier: MIT
"""Print a script that lets a shell complete commands, options, their values, and files."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.hypervisor.variant import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP: Final = "print a script that completes commands and options in a shell"
SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = ("FILE", "RESULTS", "SPEC")
_FOLDERS: Final = ("FOLDER",)
_VARIANT: Final = "NAME|FILE"
_BASH_VARIANTS: Final = """
_xenscrub_variants() {{
  compgen -W "{names}" -- "$1"
  compgen -f -- "$1"
}}
"""
# Bash splits `--option=value` into three words; shtab's function expects the option and its value.
_BASH_WORDS: Final = """
_xenscrub() {
  local -a words=()
  local at cursor=$COMP_CWORD
  for at in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[at]} == = && ${COMP_WORDS[at-1]} == --* ]]; then
      (( at == COMP_CWORD )) && words+=("")
      (( at < COMP_CWORD )) && (( cursor-- ))
    else
      words+=("${COMP_WORDS[at]}")
    fi
  done
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$cursor
  _shtab_xenscrub
}
complete -o bashdefault -F _xenscrub xenscrub
"""
MANUAL: Final = Manual(
    examples=(
        (
            "xenscrub completion bash > ~/.local/share/bash-completion/completions/xenscrub",
            "for bash, with bash-completion",
        ),
        ("xenscrub completion zsh > ~/.zfunc/_xenscrub", "for zsh, with ~/.zfunc in fpath"),
    ),
    done="printed",
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell, such as bash")


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    sys.stdout.write(script(options.top, options.shell))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of `SHELLS`."""
    import shtab  # noqa: PLC0415 - takes as long to load as the rest of the command

    for action in _actions(parser):
        if action.metavar == "COMMAND":
            action.choices = list(parser.parse_args(["help"]).commands)
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar == _VARIANT:
            action.complete = _variants()  # type: ignore[attr-defined]
        if isinstance(action.metavar, str) and shell == "zsh":  # a colon ends what zsh shows
            action.metavar = action.metavar.replace(":", r"\:")
    written = shtab.complete(parser, shell)
    if shell == "zsh":  # an option's value may follow `=`, too
        return re.sub(r"^(  \"\*?--[a-z-]+)(?=\[.*\]:)", r"\1=", written, flags=re.MULTILINE)
    return f"{written}{_BASH_WORDS}" if shell == "bash" else f"{written}\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its subcommands."""
    for action in parser._actions:  # argparse has no public way to them
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action


def _variants() -> dict[str, str | dict[str, str]]:
    """How each shell completes a variant: its name, or a file."""
    names = " ".join(BUILT_IN)
    return {
        "bash": "_xenscrub_variants",
        "zsh": f"{{_alternative 'names\\:variant\\:({names})' 'files\\:patch\\:_files'}}",
        "fish": f"(string split ' ' '{names}'; __fish_complete_path (commandline -ct))",
        "preamble": {"bash": _BASH_VARIANTS.format(names=names)},
    }
