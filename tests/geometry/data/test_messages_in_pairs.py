"""Conversations in files of pairs: earlier turns, and lists of messages as chat templates take them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pairs_on_disk import SHOWN, TEXT, Row, png, refusal, written

from regap.errors import PairError
from regap.geometry.data.pair_files import read_pairs, write_pairs
from regap.geometry.data.pairs import Pairs


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_earlier_turns_are_read_and_written(kind: str, tmp_path: Path) -> None:
    said = [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"turns": json.dumps(said)}], kind))
    assert [vars(turn) for turn in pair.prompts["text"].turns] == said
    write_pairs(Pairs((pair,)), tmp_path / "again.parquet")
    (again,) = read_pairs(tmp_path / "again.parquet")
    assert again.prompts["text"] == pair.prompts["text"]


@pytest.mark.parametrize("turns", ["Hi", '"Hi"', "[1]", '{"role": "user"}', '[{"text": "Hi"}]'])
def test_turns_of_another_form_are_an_error_with_an_example(turns: str, tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"row 1: turns is .*write a JSON list such as"):
        read_pairs(written(tmp_path, [TEXT | {"turns": turns}], "csv"))


PARTS = [{"type": "text", "text": "do "}, {"type": "image"}, {"type": "text", "text": " now"}]
SAID = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_list_of_messages_is_asked_as_messages(kind: str, tmp_path: Path) -> None:
    asked: list[Row] = [dict(each) for each in (*SAID, {"role": "user", "content": PARTS})]
    if kind == "parquet":  # a column has one type, so all contents are parts
        for each in asked:
            words = each["content"]
            each["content"] = words if isinstance(words, list) else [{"type": "text", "text": words}]
    row = {name: value for name, value in SHOWN.items() if name != "request"} | {"text": asked}
    (pair,) = read_pairs(written(tmp_path, [row], kind))
    prompt = pair.prompts["typographic"]
    assert (prompt.text, prompt.system, pair.request) == ("do <image> now", "be brief", "do  now")
    assert [(turn.role, turn.text) for turn in prompt.turns] == [("user", "Hi"), ("assistant", "Hello")]
    assert prompt.picture and prompt.picture.encoded() == png()


def test_a_message_may_name_its_picture(tmp_path: Path) -> None:
    parts = [{"type": "image", "image": "red.png"}, {"type": "text", "text": "do it"}]
    row = SHOWN | {"image": None, "text": [{"role": "user", "content": parts}]}
    (pair,) = read_pairs(written(tmp_path, [row], "jsonl"))
    assert pair.prompts["typographic"].text == "<image>do it" and pair.prompts["typographic"].picture
    assert "image and text are both filled in" in refusal(
        written(tmp_path, [row | {"image": "red.png"}], "jsonl")
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ({"role": "user", "content": "Hi"}, "an object, not text; write text, or a list of messages such as"),
        (True, "text is true, a truth value, not text; write it as text"),
        (["Hi"], "message 1 is"),
        ([{"role": "tool", "content": "Hi"}], "message 1 has the role 'tool'"),
        ([{"role": "user", "content": "Hi"}, SAID[0]], "message 2 has the role 'system'"),
        (SAID, "does not end with the user's; end it with what is asked"),
        ([{"role": "user", "content": PARTS}, SAID[2], SAID[1]], "only the last may have them"),
        (
            [{"role": "user", "content": [{"type": "video"}]}],
            "write parts of the types text, image and audio",
        ),
        ([{"role": "user", "content": PARTS}], "arm text has a picture"),
    ],
)
def test_what_is_neither_text_nor_messages_is_never_asked(text: Any, why: str, tmp_path: Path) -> None:
    row = TEXT | {"text": text} | ({"image": "red.png"} if "arm text" in why else {})
    message = refusal(written(tmp_path, [TEXT | {"pair_id": "q"}, row], "jsonl"))
    assert "row 2: " in message and why in message
