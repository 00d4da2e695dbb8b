# SPDX-License-Identifier: MIT
"""What `from pytest_xenscrub import ...` gives, and when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

import pytest

import pytest_xenscrub
from pytest_xenscrub import testing
from pytest_xenscrub.testing.bmc import command

if TYPE_CHECKING:
    from types import ModuleType

LOADS_LITTLE = """
import sys
import pytest_xenscrub
print(*sorted(name for name in sys.modules if name.startswith("pytest_xenscrub.")))
sys.modules["libvirt"] = None
from pytest_xenscrub import *
print(Victim.__module__, XenFaultError.fault)
"""


PUBLIC: set[str] = set(vars(pytest_xenscrub)["__all__"])


def declared(package: ModuleType) -> set[str]:
    """What type checkers see."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text())
    return {
        name.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.asname is not None
    }


def test_type_checkers_see_what_there_is() -> None:
    assert declared(pytest_xenscrub) | {"__version__"} == PUBLIC
    assert set(dir(pytest_xenscrub)) >= PUBLIC
    assert declared(testing) == set(vars(testing)["__all__"]) <= set(dir(testing))


def test_nothing_is_loaded_before_it_is_asked_for_and_libvirt_never() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS_LITTLE], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["", "pytest_xenscrub.scrub.victim xen"]


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="'pytest_xenscrub' has no attribute 'Nonsense'"):
        pytest_xenscrub.Nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Nonsense"):
        from pytest_xenscrub import Nonsense  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_others_get_a_lab_machine() -> None:
    from pytest_xenscrub.testing import LabMachine  # noqa: PLC0415

    assert LabMachine.__module__ == "pytest_xenscrub.testing.lab"
    with pytest.raises(ImportError, match="Nonsense"):
        from pytest_xenscrub.testing import Nonsense  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_the_bmc_is_a_program_that_says_nothing_but_its_answer(tmp_path: Path) -> None:
    words = command(tmp_path)
    done = subprocess.run([*words[:-1], "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Warning" not in done.stderr


def test_hooks_take_and_return_public_names() -> None:
    from pytest_xenscrub import hookspec  # noqa: PLC0415

    names = [name for name in vars(hookspec) if name.startswith("pytest_xenscrub_")]
    assert sorted(names) == [
        "pytest_xenscrub_deployment", "pytest_xenscrub_host", "pytest_xenscrub_row",
    ]  # fmt: skip
    for name in names:
        known = {"pytest": pytest, **dict.fromkeys(PUBLIC, object)}
        known["Callable"] = list
        hints = {
            key: text.replace("[[], None]", "") for key, text in
            getattr(hookspec, name).__annotations__.items()
        }  # fmt: skip
        assert get_type_hints(type("Hook", (), {"__annotations__": hints}), known)
