# SPDX-License-Identifier: MIT
"""Show results that `--xen-results` has written, in one of several formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.report.export import prose, series
from pytest_xenscrub.report.results import Results, read_file
from pytest_xenscrub.system_errors import explained

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

HELP: Final = "show results, as text or as another program reads them"
FORMATS: Final[dict[str, Callable[[Results], str]]] = {
    "text": prose.to_text,
    "markdown": prose.to_markdown,
    "mail": prose.to_mail,
    "csv": series.to_csv,
    "openmetrics": series.to_openmetrics,
    "bmf": series.to_bmf,
    "github-action-benchmark": series.to_github_action_benchmark,
}


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="files of --xen-results"
    )
    parser.add_argument(
        "--format", choices=list(FORMATS), default="text", help="of what is shown (default: text)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to this file (default: print)"
    )


def run(options: argparse.Namespace) -> None:
    """Show them.

    Raises:
        ConfigurationError: a file is no results.
        InfrastructureError: the output cannot be written.
    """
    files = [read_file(path) for path in options.results]
    results = Results(
        [row for file in files for row in file.rows],
        [test for file in files for test in file.tests],
        [run for file in files for run in file.runs],
        any(file.unfinished for file in files),
    )
    if not (results.rows or results.runs):
        raise ConfigurationError(f"{options.results[0]}: there is no result in it")
    text = FORMATS[options.format](results)
    if options.output is None:
        sys.stdout.write(text)
        return
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise explained(error, f"{options.output} cannot be written") from None
