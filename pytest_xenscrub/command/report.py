# SPDX-License-Identifier: MIT
"""Show results that `--xen-results` has written, in one of several formats."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.command.manual import Manual
from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.export import lava, prose, series
from pytest_xenscrub.report.results import read_runs
from pytest_xenscrub.report.run_page import LogFiles
from pytest_xenscrub.system_errors import explained

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from pytest_xenscrub.report.results import RunResults

HELP: Final = "show results, as text or in another program's format"
FORMATS: Final[dict[str, Callable[[Sequence[RunResults]], str]]] = {
    "text": prose.to_text,
    "markdown": prose.to_markdown,
    "mail": prose.to_mail,
    "csv": series.to_csv,
    "openmetrics": series.to_openmetrics,
    "bmf": series.to_bmf,
    "lava": lava.to_lava,
    "github-action-benchmark": series.to_github_action_benchmark,
}
MANUAL: Final = Manual(
    examples=(
        ("xenscrub report results.jsonl", "what was proven, and the tables"),
        ("xenscrub report --format=mail --output=mail.txt results.jsonl", "for a mailing list"),
        ("xenscrub report nights/ --html=page.html --logs=logs/", "one page of many runs"),
    ),
    done="shown, whatever the results say of Xen: pytest's exit status judges",
    wrong="wrong usage, or a file has no results or cannot be read",
    failed="the output cannot be written",
    see=("docs/how-to/reports.md", "docs/page.md"),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `xenscrub report`."""
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULTS",
        help="files of --xen-results, or folders of such files, named *.jsonl",
    )
    parser.add_argument(
        "--format", choices=list(FORMATS), default="text", help="output format (default: text)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write an HTML page with all results to FILE"
    )
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="of --xen-logs: the page links to files in it"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the output to FILE (default: print it)"
    )


def run(options: argparse.Namespace) -> None:
    """Show the results.

    Raises:
        ConfigurationError: a file has no results.
        InfrastructureError: the output cannot be written.
    """
    runs = [run for path in _files(options.results) for run in read_runs(path)]
    if not runs:
        raise ConfigurationError(f"{options.results[0]}: there is no result in it")
    runs.sort(key=lambda run: run.started)
    if options.html is not None:
        _write(options.html, _page(runs, LogFiles(options.logs, options.html)))
    if options.output is not None:
        _write(options.output, FORMATS[options.format](runs))
    elif options.html is None:
        sys.stdout.write(FORMATS[options.format](runs))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.jsonl")) if path.is_dir() else [path]


def _page(runs: Sequence[RunResults], logs: LogFiles) -> str:
    if importlib.util.find_spec("jinja2") is None:
        raise ConfigurationError(
            "jinja2, which makes the page, is not installed",
            todo="pip install 'pytest-xenscrub[html]'",
        )
    from pytest_xenscrub.report.page import Extras, to_html  # noqa: PLC0415 - an extra

    return to_html(runs, Extras(logs=logs.of))


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode(errors="replace"))
    except OSError as error:
        raise explained(error, f"{path} cannot be written") from None
