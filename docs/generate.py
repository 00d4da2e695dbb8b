# SPDX-License-Identifier: MIT
"""MkDocs hooks: parts of pages that come from the code, and links that leave the site.

A page says where such a part goes by a comment, `<!-- generated: options -->`.
"""

from __future__ import annotations

import argparse
import ast
import logging
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.command.main import parser
from pytest_xenscrub.options import ALL_OPTIONS
from pytest_xenscrub.report.table import COLUMNS
from pytest_xenscrub.scrub.row import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from pytest_xenscrub.option_places import Option

TOP: Final = Path(__file__).parent.parent
_LOG = logging.getLogger("mkdocs.hooks.generate")
_MARK = re.compile(r"<!-- generated: (\w+) -->")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def options() -> str:
    """A section for each option, in the order of `pytest --help`."""
    return "\n".join(_option(each) for each in ALL_OPTIONS)


def _option(option: Option) -> str:
    value = f"={option.metavar}" if option.metavar else ""
    shown = f"{option.argument}[{value}]" if option.bare else option.argument + value
    # argparse formats a help text, and so has each % twice.
    text = re.sub(r"(?<![\w-])--(xen-[a-z-]+)", r"[`--\1`](#\1)", option.help.replace("%%", "%"))
    lines = [
        f"### `{shown}` {{ #{option.argument.lstrip('-')} }}",
        "",
        f"{text[0].upper()}{text[1:]}.",
        "",
        f"Environment: `{option.variable}`. Ini file: `{option.ini}`."
        + (" May be repeated." if option.many else ""),
        "",
    ]
    return "\n".join(lines)


def columns() -> str:
    """The columns of the table at the end, with what each figure is."""
    return _table(
        ("column", "from → to", "unit", "shown"),
        (
            (f"`{m.column}`", m.definition, m.unit.name, "always" if m.main else "`-v`")
            for m in COLUMNS
        ),
    )


def figures() -> str:
    """The keys of a row's figures in `--xen-results`."""
    return _table(
        ("key", "what it is", "unit"),
        ((f"`{m.name}`", m.definition, _stored(m.unit.name)) for m in METRICS),
    )


def _stored(unit: str) -> str:
    """The unit of a figure in the file of results, which has no multiples."""
    return {"GiB/s": "bytes/s", "GiB s": "byte seconds", "%": "share, 0 to 1"}.get(unit, unit)


def fixtures() -> str:
    """What each public fixture hands out."""
    rows = []
    for path in sorted((TOP / "pytest_xenscrub").glob("fixtures_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                kind = ast.unparse(node.returns) if node.returns else ""
                kind = re.sub(r"^Iterator\[(.*)\]$", r"\1", kind)
                said = (ast.get_docstring(node) or "").partition("\n")[0]
                rows.append(
                    (
                        f"[`{node.name}`](#pytest_xenscrub.{path.stem}.{node.name})",
                        f"`{kind}`",
                        said,
                    )
                )
    return _table(("fixture", "is a", ""), iter(rows))


def command() -> str:
    """What `xenscrub` and each of its subcommands say with --help."""
    top = parser()
    subcommands: dict[str, argparse.ArgumentParser] = {}
    for action in top._actions:  # argparse has no public way to them
        if isinstance(action, argparse._SubParsersAction):
            subcommands = action.choices
    return "\n".join(
        f"## xenscrub {name}\n\n```text\n{sub.format_help().rstrip()}\n```\n"
        for name, sub in subcommands.items()
    )


def readme() -> str:
    """The README, which is the site's first page, too."""
    return _beside("README.md")


def contributing() -> str:
    """How to contribute."""
    return _beside("CONTRIBUTING.md")


def changelog() -> str:
    """What users notice of each version."""
    return _beside("CHANGELOG.md")


def _beside(name: str) -> str:
    """A text that lies beside docs/, with its links as they are from within."""
    text = (TOP / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for other in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = text.replace(f"]({other}", f"]({other.lower()}")
    return text.replace("](README.md", "](index.md")


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


PARTS: Final[dict[str, Callable[[], str]]] = {
    "options": options,
    "columns": columns,
    "figures": figures,
    "command": command,
    "fixtures": fixtures,
    "readme": readme,
    "contributing": contributing,
    "changelog": changelog,
}


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the generated parts in, and turn links to files of the source into their names."""
    del config, files
    text = _MARK.sub(lambda mark: PARTS[mark[1]](), markdown)
    return _LINK.sub(lambda link: _kept(link, page.file.src_uri), text)


def _kept(link: re.Match[str], page: str) -> str:
    """A link of the site as it is; one to a file beside docs/ as that file's name."""
    label, target = link[1], link[2]
    place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    if "://" in target or place.startswith("docs/"):
        return link[0]
    if not (TOP / place).exists():
        _LOG.warning("%s: there is no file %s", page, place)
    return label if "`" in label else f"`{place}`"


class _Fetched(HTMLParser):
    """Collects what a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a script, image, frame, style sheet or icon."""
        known = dict(attrs)
        address = known.get("src")
        if tag == "link" and known.get("rel") in ("stylesheet", "icon", "preconnect", "preload"):
            address = known.get("href")
        if address:
            self.addresses.append(address)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Warn, and so fail, where a page would fetch something from outside."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        fetched = _Fetched()
        fetched.feed(path.read_text(encoding="utf-8"))
        for address in fetched.addresses:
            if re.match(r"(\w+:)?//", address):
                _LOG.warning("%s would fetch %s", path.name, address)
