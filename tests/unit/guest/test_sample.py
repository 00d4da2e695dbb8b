# SPDX-License-Identifier: MIT
"""The twin of sample.h: which pages a victim fills is the same in C and in Python."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.guest.compile import SOURCES
from pytest_xenscrub.guest.sample import FillChoice, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAGES = 1 << 20
CHOOSER = """
#include <stdio.h>
#include "sample.h"
int main(void)
{{
    struct sample s = {{ {seed}ul, {single}ul, {dense}ul }};
    unsigned long first = {first}ul;

    for ( unsigned long pfn = first; pfn < first + {pages}ul; pfn++ )
        putchar(is_sampled(&s, pfn) ? '1' : '0');
}}
"""


def chosen_in_c(folder: Path, sample: Sample, first: int, pages: int) -> NDArray[np.bool_]:
    source, program = folder / "chooser.c", folder / "chooser"
    known = {"seed": sample.seed, "single": sample.single, "dense": sample.dense}
    source.write_text(CHOOSER.format(**known, first=first, pages=pages))
    try:
        subprocess.run(["gcc", "-O1", "-w", f"-I{SOURCES}", source, "-o", program], check=True)
    except FileNotFoundError:
        pytest.skip("gcc is not installed")
    said = subprocess.run([program], capture_output=True, check=True).stdout
    chosen: NDArray[np.bool_] = np.frombuffer(said, np.uint8) == ord("1")
    return chosen


def pfns(pages: int, first: int = 0) -> NDArray[np.uint64]:
    return np.arange(first, first + pages, dtype=np.uint64)


@pytest.mark.parametrize("share", [1 / 256, 1 / 16, 0.5, 0.999, 2**-31])
@pytest.mark.parametrize(
    ("seed", "number", "first"), [(1, 1, 0), (0xFFFFFFFF, (1 << 23) - 1, (1 << 40) - (1 << 17))]
)
def test_c_and_python_choose_the_same(
    tmp_path: Path, share: float, seed: int, number: int, first: int
) -> None:
    sample = Sample.of(share, seed).of_guest(number)
    in_c = chosen_in_c(tmp_path, sample, first, 1 << 17)
    assert (in_c == sample.has(pfns(1 << 17, first))).all()


def test_without_a_sample_c_chooses_all(tmp_path: Path) -> None:
    assert chosen_in_c(tmp_path, Sample(0, 1 << 32, 0), 0, 2000).all()


@pytest.mark.parametrize("share", [1 / 256, 1 / 16, 0.5, 0.9])
def test_it_is_about_that_share_half_of_it_in_dense_runs(share: float) -> None:
    has = Sample.of(share, 0x5EED).has(pfns(16 * PAGES)).reshape(-1, 512)
    assert has.mean() == pytest.approx(share, rel=0.1)
    runs = has.all(axis=1)
    assert runs.mean() == pytest.approx(share / 2, rel=0.2)
    # The others are no runs, nor is any of them empty or full by its place.
    singles = has[~runs].mean(axis=0)
    assert singles.mean() == pytest.approx(share / 2 / (1 - share / 2), rel=0.05)
    assert singles.std() < 4 * np.sqrt(singles.mean() / len(has))


def test_each_guest_and_each_seed_has_its_own_choice() -> None:
    sample = Sample.of(0.5, 1)
    choices = [each.has(pfns(4096)) for each in (sample.of_guest(1), sample.of_guest(2))]
    choices.append(Sample.of(0.5, 2).of_guest(1).has(pfns(4096)))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0.2 < (choices[one] == choices[other]).mean() < 0.8
    assert (sample.of_guest(1).has(pfns(4096)) == choices[0]).all()


def test_all_is_no_sample() -> None:
    assert FillChoice().sample(5) is None
    assert FillChoice(0.5).sample(5) == Sample.of(0.5, 5)
    assert FillChoice(0.5, 7).sample(5) == Sample.of(0.5, 7)


def test_a_share_that_no_hash_can_tell_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fills no page"):
        Sample.of(1e-10, 1)
