"""Every `regap` command in a page, a notebook, a message or a docstring, and each of its flags, exists."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer

from regap.commands.command_line import COMMANDS, application

SPAN = re.compile(r"`(?:\.venv/bin/)?regap ([^`]+)`", re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^\s*(?:\.venv/bin/)?regap ((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@cache
def group() -> Any:
    names = {command.__name__.replace("_", "-") for command in COMMANDS} | {"train", "pairs", "card"}
    return typer.main.get_command(application(names | {"family", "assemble"}))


def told(text: str) -> Iterator[str]:
    """Yield what follows `regap` in the code of a page, comments left out."""
    fenced = "\n".join(FENCE.findall(text))
    for found in (*SPAN.finditer(FENCE.sub("", text)), *LINE.finditer(fenced)):
        yield re.split(r"\s#", found[1].replace("\\\n", " ").replace("\n", " "))[0]


def wrong_in(command: str) -> list[str]:
    """Return the name and the flags of a command that do not exist."""
    place = group()
    words = command.split()
    while words and hasattr(place, "commands") and not words[0].startswith("-"):
        if words[0] not in place.commands:
            return [] if not re.fullmatch(r"[a-z-]+", words[0]) else [words[0]]
        place = place.commands[words.pop(0)]
    known = {name for one in place.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    return [flag for flag in FLAG.findall(" ".join(words)) if flag not in known]


def test_every_command_that_is_told_exists_with_its_flags(root: Path, project_files: list[Path]) -> None:
    pages = [
        path for path in project_files if path.suffix in (".md", ".ipynb", ".py") and path.parts[0] != "tests"
    ]
    seen, wrong = 0, []
    for page in pages:
        for command in told((root / page).read_text("utf-8")):
            seen += 1
            wrong += [f"{page}: regap {command} ({one})" for one in wrong_in(command)]
    assert "\n".join(wrong) == "" and seen > 100


def test_a_wrong_flag_or_command_is_found() -> None:
    assert wrong_in("run --model M --contrast xstest") == ["--contrast"]
    assert wrong_in("organism train --subject english --out F") == []
    assert wrong_in("rum --out F") == ["rum"]
