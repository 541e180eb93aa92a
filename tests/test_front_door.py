"""`import regap` is one door: every public name is there, and loads nothing before it is used."""

import subprocess
import sys
from typing import Any

import pytest

import regap

TAKES_AT_MOST = "import sys, regap; print(*sys.modules)"


def python(*arguments: str) -> str:
    """What a python of its own prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_door_alone_loads_no_library() -> None:
    loaded = {name.partition(".")[0] for name in python("-c", TAKES_AT_MOST).split()}
    assert "regap" in loaded
    assert not loaded & {"torch", "transformers", "transformer_lens", "pandas", "numpy", "plotly", "pydantic"}


def test_every_name_is_found_and_says_what_it_is() -> None:
    for name in regap.__all__:
        found: Any = getattr(regap, name)
        assert name == "__version__" or found.__doc__, name
    assert dir(regap) == sorted(regap.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'regap' has no attribute 'laod'"):
        getattr(regap, "laod")  # noqa: B009 - the name is wrong on purpose


def test_the_command_line_is_run_as_a_module() -> None:
    assert "Usage" in python("-m", "regap", "--help")


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert regap.__version__ == version("regap")
