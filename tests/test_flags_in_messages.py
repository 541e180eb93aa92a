"""A message that advises a Python argument names the flag of the command line too, or says that there is none."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("geometry", "interventions", "analyses", "figures", "commands")
IN_PYTHON = ("in Python only", "no command", "as every command does")
ADVICE = {
    "dtype='": ("--dtype",),
    "dtype float32": ("--dtype",),
    "template={": ("--template",),
    "checkpoint=True": ("--decoding checkpoint",),
    "columns=": ("--columns",),
    "map it to one of them with": ("--",),
    "batch_tokens": ("--batch-tokens",),
    "allow_partial=True": ("--partial",),
    "allow the download": ("--download",),
    "trust_remote_code=True": IN_PYTHON,
    "load it with hooks='blocks'": IN_PYTHON,
    "processor.chat_template": IN_PYTHON,
}
"""What messages advise, and what has to stand beside it."""


def messages() -> Iterator[tuple[str, str]]:
    """Yield every text on one line with its place; docstrings are none, as they end with a full stop."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
            parts = {id(part) for node in joined for part in node.values}
            plain = [
                node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts
            ]
            texts = [(node, ast.unparse(node).replace("\\'", "'")) for node in joined]
            texts += [(node, node.value) for node in plain if isinstance(node.value, str)]
            for node, text in texts:
                if "\n" not in text and not text.endswith("."):
                    yield f"{path.name}:{node.lineno}", text


def test_what_a_message_advises_can_be_done_from_the_command_line() -> None:
    seen = set()
    for where, text in messages():
        for advised in (each for each in ADVICE if each in text and each != text):
            seen.add(advised)
            assert any(each in text for each in ADVICE[advised]), f"{where} advises {advised}: {text}"
    assert seen == set(ADVICE)
