"""Every way of writing pairs reads back the same, and everything else is refused in one sentence."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pairs_on_disk import SHOWN, TEXT, Row, png, refusal, written

from regap.errors import PairError
from regap.geometry.data.pair_files import read_pairs, write_pairs
from regap.geometry.data.pairs import Pairs


def test_what_is_written_is_read_back_unchanged_pictures_included(tiny_pairs: Pairs, tmp_path: Path) -> None:
    write_pairs(tiny_pairs, tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path / "pairs.parquet") == tiny_pairs


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_kind_of_file_says_the_same(kind: str, tmp_path: Path) -> None:
    extra = {"category": "kind", "answer": "sure, 1", "split": "test", "cluster": "c"}
    (pair,) = read_pairs(written(tmp_path, [TEXT | extra, SHOWN | extra], kind))
    assert (pair.pair_id, pair.label, pair.request) == ("p", "harmful", "a request")
    assert (pair.category, pair.answer, pair.split, pair.cluster) == ("kind", "sure, 1", "test", "c")
    picture = pair.prompts["typographic"].picture
    assert list(pair.prompts) == ["text", "typographic"] and pair.prompts["text"].picture is None
    assert picture and picture.encoded() == png()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_left_out_has_its_default(kind: str, tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT], kind))
    assert (pair.category, pair.answer, pair.cluster) == ("all", None, "p")
    assert pair.split in ("calibration", "test")


@pytest.mark.parametrize(
    "text", ["None", "NA", "nan", "null", 'a, "b"\nc', "line\u2028separator\x85", "日本語 😀 ﷽"]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_texts_are_taken_as_they_are(kind: str, text: str, tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"text": text, "request": text}], kind))
    assert pair.prompts["text"].text == pair.request == text


def test_numbers_for_names_and_answers_are_texts(tmp_path: Path) -> None:
    rows = [TEXT | {"pair_id": 7, "answer": 42}, SHOWN | {"pair_id": 7, "answer": 42}]
    (pair,) = read_pairs(written(tmp_path, rows, "jsonl"))
    assert (pair.pair_id, pair.answer, pair.cluster) == ("7", "42", "7")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_prompt_may_have_several_pictures_and_a_system_message(kind: str, tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(png("blue"))
    row = SHOWN | {"image": None, "images": ["red.png", "blue.png"], "text": "<image> or <image>"}
    path = written(tmp_path, [row | {"system": "be brief", "shown": "A REQUEST"}], kind)
    (pair,) = read_pairs(path)
    prompt = pair.prompts["typographic"]
    assert [picture.encoded() for picture in prompt.pictures] == [png(), png("blue")]
    assert (prompt.system, prompt.shown) == ("be brief", "A REQUEST")
    write_pairs(Pairs((pair,)), tmp_path / "again.parquet")
    (again,) = read_pairs(tmp_path / "again.parquet")
    assert again.prompts["typographic"].text == prompt.text
    assert again.prompts["typographic"].shown == prompt.shown
    assert [picture.sha256 for picture in again.prompts["typographic"].pictures] == [
        picture.sha256 for picture in prompt.pictures
    ]


def test_words_that_are_not_known_stay_so(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"shown": ""}, SHOWN | {"shown": "-"}], "jsonl"))
    write_pairs(Pairs((pair,)), tmp_path / "again.parquet")
    for each in (pair, *read_pairs(tmp_path / "again.parquet")):
        assert (each.words_in("text"), each.words_in("typographic")) == ("a request", None)


def test_pictures_without_slots_go_before_the_text_in_their_order(tmp_path: Path) -> None:
    row = SHOWN | {"image": None, "images": ["red.png", "red.png"], "text": "do it"}
    (pair,) = read_pairs(written(tmp_path, [row], "jsonl"))
    assert pair.prompts["typographic"].text == "<image>\n<image>\ndo it"


def test_a_picture_without_a_slot_goes_before_the_text(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT, SHOWN | {"text": "do it"}]))
    assert pair.prompts["typographic"].text == "<image>\ndo it"


def test_pictures_may_be_bytes_or_the_struct_of_data_sets(tmp_path: Path) -> None:
    for image in (png(), {"bytes": png(), "path": None}, {"bytes": None, "path": "red.png"}):
        (pair,) = read_pairs(written(tmp_path, [TEXT | {"image": None}, SHOWN | {"image": image}], "parquet"))
        picture = pair.prompts["typographic"].picture
        assert picture and picture.encoded() == png()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file or directory; check the path" in refusal(tmp_path / "absent.csv")
    assert "Is a directory" in refusal(
        Path(os.fspath(tmp_path / "folder.csv")) if make_folder(tmp_path) else tmp_path
    )


def make_folder(parent: Path) -> bool:
    (parent / "folder.csv").mkdir()
    return True


def test_an_ending_that_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, [TEXT]).rename(tmp_path / "pairs.xlsx")
    assert "ending '.xlsx' is not supported; use .csv, .jsonl, .parquet" in refusal(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff\xfe garbage {", b"{]"], ids=["empty", "garbage", "brackets"]
)
def test_a_file_that_holds_no_pairs(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"pairs.{kind}"
    path.write_bytes(data)
    assert any(
        words in refusal(path)
        for words in ("is not a valid", "has no rows", "lacks the column", "is not in UTF-8")
    )


def test_a_table_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(",".join(TEXT))
    assert "has no rows; it needs one row per pair and arm" in refusal(path)


@pytest.mark.parametrize("column", ["pair_id", "label"])
def test_a_column_that_is_missing(column: str, tmp_path: Path) -> None:
    row = {name: value for name, value in TEXT.items() if name != column}
    message = refusal(written(tmp_path, [row]))
    assert (
        f"lacks the column {column}; required are pair_id, label, and text or request: map another" in message
    )


def test_a_table_without_request_and_without_text(tmp_path: Path) -> None:
    row = {name: TEXT[name] for name in ("pair_id", "arm", "label")}
    assert "lacks the column text; required are" in refusal(written(tmp_path, [row]))


def test_the_least_that_a_table_must_have() -> None:
    (pair,) = read_pairs(pd.DataFrame([{"id": 7, "label": "harmful", "text": "a request"}]))
    assert (pair.pair_id, pair.request, list(pair.prompts)) == ("7", "a request", ["text"])
    (same,) = read_pairs(pd.DataFrame([{"id": 7, "label": "harmful", "request": "a request"}]))
    assert same == pair


def test_the_request_is_the_text_of_the_text_arm(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "request"} for row in (SHOWN, TEXT)]
    (pair,) = read_pairs(written(tmp_path, rows))
    assert pair.request == "a request"
    (alone,) = read_pairs(written(tmp_path, rows[:1]))
    assert alone.request == "do  now"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_other_names_are_mapped(kind: str, tmp_path: Path) -> None:
    theirs = {"qid": "p", "kind": "words", "unsafe": 1, "prompt": "a request", "split": "train", "note": "x"}
    (pair,) = read_pairs(
        written(tmp_path, [theirs], kind),
        columns={"qid": "pair_id", "kind": "arm", "unsafe": "label", "prompt": "text", "note": None},
        labels={1: "harmful"},
        splits={"train": "calibration"},
        arms={"words": "text"},
    )
    assert (pair.pair_id, pair.label, pair.split, pair.request) == (
        "p",
        "harmful",
        "calibration",
        "a request",
    )


@pytest.mark.parametrize(
    ("mapping", "why"),
    [
        ({"columns": {"absent": "text"}}, "has no column 'absent' to map; it has pair_id, arm, label"),
        ({"labels": {"unsafe": "harmful"}}, "has no label 'unsafe' to map; it has harmful"),
        ({"splits": {"train": "calibration"}}, "has no column split, so splits cannot be mapped"),
        (
            {"columns": {"request": "text"}},
            r"has the column text twice; leave one of them out \(columns=, --columns\)",
        ),
    ],
)
def test_a_mapping_that_maps_nothing_is_refused(mapping: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(PairError, match=why):
        read_pairs(written(tmp_path, [TEXT]), **mapping)


def test_a_label_of_another_name_is_refused_with_the_mapping_that_helps(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [TEXT | {"label": "unsafe"}]))
    assert "or map it to one of them with labels={'unsafe': ...}" in message


def test_a_column_that_is_unknown(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [TEXT | {"lable": "x"}]))
    assert "has the unknown column lable; known are" in message and "rename or remove it" in message


@pytest.mark.parametrize("column", list(TEXT))
def test_a_cell_that_is_empty(column: str, tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [TEXT, SHOWN | {column: ""}]))
    assert f"row 2: {column} is empty; fill it in or remove the row" in message


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([SHOWN | {"images": ["red.png"]}], "row 1: image and images are both filled in; keep one of them"),
        ([SHOWN | {"image": None, "images": "red.png"}], "row 1: images is 'red.png', not a list"),
        ([TEXT, TEXT], "pair 'p' has arm text twice; keep one row of it"),
        ([TEXT, SHOWN | {"label": "harmless"}], "pair 'p' has rows that differ in label; make them equal"),
        ([TEXT, SHOWN | {"request": "another"}], "pair 'p' has rows that differ in request; make them equal"),
        ([TEXT | {"arm": "audio"}], "row 1: arm 'audio' is not known; write one of text, typographic"),
        ([TEXT | {"split": "train"}], "split is 'train'; write one of calibration, test"),
        ([TEXT | {"label": "bad"}], "label is 'bad'; write one of harmful, harmless"),
        ([TEXT | {"text": "look at <image>"}], "has 1 x <image> and no picture; write <image> once"),
        (
            [TEXT, SHOWN | {"text": "<image> <image>"}],
            "row 2: text '<image> <image>' has 2 x <image> and 1 picture",
        ),
        ([TEXT, SHOWN | {"image": "absent.png"}], "absent.png: No such file or directory; check the path"),
        ([TEXT, SHOWN | {"image": "../red.png"}], "image ../red.png is outside the folder of the pairs file"),
        (
            [TEXT, SHOWN | {"image": "/etc/hostname"}],
            "image /etc/hostname is outside the folder of the pairs file",
        ),
        ([TEXT, SHOWN | {"image": "."}], "Is a directory; check the path"),
    ],
)
def test_a_row_that_cannot_be_used(rows: list[Row], expected: str, tmp_path: Path) -> None:
    (tmp_path.parent / "red.png").write_bytes(png())  # what leaves the folder would be there
    assert expected in refusal(written(tmp_path, rows))


def test_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.png"
    inside.mkdir()
    outside.write_bytes(png())
    (inside / "link.png").symlink_to(outside)
    (inside / "circle.png").symlink_to(inside / "circle.png")
    for name, expected in (("link.png", "is outside the folder"), ("circle.png", "is not a path")):
        assert expected in refusal(written(inside, [TEXT, SHOWN | {"image": name}]))
    (inside / "near.png").symlink_to(inside / "red.png")
    assert len(read_pairs(written(inside, [TEXT, SHOWN | {"image": "near.png"}]))) == 1


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    assert "is not a path; check the image column" in refusal(
        written(tmp_path, [TEXT, SHOWN | {"image": "a\0.png"}], "jsonl")
    )


@pytest.mark.parametrize("data", [b"", b"no picture", png()[:40]], ids=["empty", "text", "truncated"])
def test_a_picture_that_is_damaged(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(data)
    message = refusal(written(tmp_path, [TEXT, SHOWN | {"image": "bad.png"}]))
    assert "row 2: image " in message and "bad.png: cannot be decoded" in message
    message = refusal(
        written(tmp_path, [TEXT | {"image": None}, SHOWN | {"image": data or b"\0"}], "parquet")
    )
    assert "row 2: image (bytes in the file): cannot be decoded" in message


def test_pairs_written_where_nothing_can_be_read_back_differ(tiny_pairs: Pairs, tmp_path: Path) -> None:
    """The positive control of the round trip: one changed word is seen."""
    path = tmp_path / "pairs.parquet"
    write_pairs(tiny_pairs, path)
    table = pd.read_parquet(path)
    table.loc[0, "text"] = "another"
    table.to_parquet(path)
    assert read_pairs(path) != tiny_pairs


@pytest.mark.parametrize("column", ["pair_id", "request", "system", "answer", "category", "cluster", "shown"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, True])
def test_a_list_an_object_and_a_truth_value_are_no_text(column: str, value: object, tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [TEXT, TEXT | {"pair_id": "q", column: value}], "jsonl"))
    assert f"row 2: {column} is " in message and "not text; write it as text" in message


def test_truth_values_of_labels_are_mapped_by_either_spelling(tmp_path: Path) -> None:
    for spelling in (True, "True", "true"):
        path = written(tmp_path, [TEXT | {"label": True}], "jsonl")
        (pair,) = read_pairs(path, labels={spelling: "harmful"})
        assert pair.label == "harmful"


@pytest.mark.parametrize("arm", ["typographic", "picture-2", "picture_typographic", "blank-colour", "noise"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_row_of_an_image_arm_without_its_image_is_named(arm: str, kind: str, tmp_path: Path) -> None:
    rows = [SHOWN | {"arm": arm}, SHOWN | {"arm": arm, "pair_id": "q", "text": "do it", "image": None}]
    message = refusal(written(tmp_path, rows, kind))
    assert f"row 2: arm {arm} has no picture, but is asked with one; give the picture (image)" in message


@pytest.mark.parametrize("arm", ["text", "caption", "text-large"])
def test_an_image_in_a_row_of_text_is_named(arm: str, tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [TEXT, SHOWN | {"arm": arm, "pair_id": "q"}]))
    assert f"row 2: arm {arm} has a picture, but is asked in words; leave the picture (image) out" in message


@pytest.mark.parametrize("column", ["pair_id", "request", "text"])
def test_white_space_alone_says_nothing(column: str, tmp_path: Path) -> None:
    assert f"row 1: {column} is empty; fill it in" in refusal(written(tmp_path, [TEXT | {column: " \t"}]))


def test_the_id_1_and_the_id_one_as_text_are_one_pair(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"pair_id": 1}, SHOWN | {"pair_id": "1"}], "jsonl"))
    assert pair.pair_id == "1" and list(pair.prompts) == ["text", "typographic"]
    rows = [TEXT | {"pair_id": 1}, SHOWN | {"pair_id": "1", "request": "another"}]
    message = refusal(written(tmp_path, rows, "jsonl"))
    assert (
        "pair '1' has rows that differ in request; make them equal, or give rows 1 and 2 a pair_id" in message
    )


@pytest.mark.parametrize("image", ["data:image/png;base64," + "A" * 4_000, "A" * 4_000])
def test_a_picture_as_base64_gets_a_short_message_with_the_remedy(image: str, tmp_path: Path) -> None:
    message = refusal(written(tmp_path, [SHOWN | {"image": image}]))
    assert len(message) < 600 and "not a path; save it as a file" in message


def test_half_of_a_surrogate_pair_is_no_letter(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(TEXT | {"text": "half \ud83d"}))
    assert "row 1: text holds half of a surrogate pair" in refusal(path)
