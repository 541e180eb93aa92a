"""What is true of every benchmark that is read, and of everything that can be wrong with a download."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import Purpose
from regap.geometry.data.benchmarks.catalogue import CATALOGUE
from regap.geometry.data.benchmarks.loading import benchmark
from regap.geometry.data.pairs import Pairs, normal
from regap.geometry.data.rendering import STYLES

Distributed = Callable[[str], Path]
NAMES = sorted(name for name, card in CATALOGUE.items() if not card.bundled)
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
PICTURES = (".png", ".jpg")


def message(folder: Path, name: str, **options: Any) -> str:
    with pytest.raises(PairError) as caught:
        benchmark(name, folder, **options)
    said = str(caught.value)
    assert "\n" not in said and name in said, said
    return said


def test_every_benchmark_has_a_layout_here(request: pytest.FixtureRequest) -> None:
    layouts = request.getfixturevalue("distributed").__globals__["LAYOUTS"]
    assert set(layouts) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_has_the_arms_of_its_card_and_pictures_that_open(
    name: str, read: Callable[..., Pairs]
) -> None:
    card, pairs = CATALOGUE[name], read(name)
    kinds = {arm[:-1] for arm in card.arms if arm.endswith("*")}
    plain = {arm for arm in card.arms if not arm.endswith("*")}
    found = {arm for arm in pairs.arms if not any(arm.startswith(kind) for kind in kinds)}
    assert found == plain and (len(found) < len(pairs.arms)) == bool(kinds)
    assert card.purpose in get_args(Purpose) and card.style in STYLES
    for pair in pairs:
        assert pair.pair_id.startswith(f"{name}/") and pair.request and pair.shown
        for arm, prompt in pair.prompts.items():
            assert bool(prompt.media) == (arm.split("-")[0] not in ("text", "caption")), arm
            assert bool(prompt.sounds) == (arm.split("-")[0] in ("speech", "speech_noise")), arm
            assert all(picture.open().mode == "RGB" for picture in prompt.pictures)


@pytest.mark.parametrize("name", NAMES)
def test_judges_see_the_request_and_the_text_arm_asks_it(name: str, read: Callable[..., Pairs]) -> None:
    requests = [pair.request for pair in read(name)]
    carriers = ("the image shows", "the text above", "in a play")
    assert not any(request.lower().startswith(carriers) for request in requests)
    assert CATALOGUE[name].purpose == "utility" or len(set(requests)) > 1 or name == "llava-instruct"


@pytest.mark.parametrize("name", NAMES)
def test_twins_fall_on_one_side_and_labels_are_the_benchmarks(name: str, read: Callable[..., Pairs]) -> None:
    pairs, card = read(name), CATALOGUE[name]
    for left in pairs:
        for right in pairs:
            if left.cluster == right.cluster:
                assert left.split == right.split
            if "text" in left.prompts and "text" in right.prompts:
                assert (normal(left.request) != normal(right.request)) or left.cluster == right.cluster
    labels = {pair.label for pair in pairs}
    assert ("harmful" in labels) == (card.purpose == "safety")
    assert all(pair.answer for pair in pairs) == (card.purpose == "utility")


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOGUE[name].rows])
def test_a_count_that_is_not_the_published_one_is_an_error_or_a_note(
    name: str, distributed: Distributed
) -> None:
    folder = distributed(name)
    said = message(folder, name)
    assert f"published are {CATALOGUE[name].rows[0]:,}" in said and "allow a partial benchmark" in said
    assert any("published are" in note for note in benchmark(name, folder, allow_partial=True).notes)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_folder_is_named_with_what_was_looked_for(name: str, tmp_path: Path) -> None:
    assert f"in {tmp_path}; name the folder that was downloaded" in message(tmp_path, name)
    assert "does not exist; name the folder that was downloaded" in message(tmp_path / "x" / name, name)
    assert f"{name} needs the folder of its files; get it from http" in _without_folder(name)


def _without_folder(name: str) -> str:
    with pytest.raises(PairError) as caught:
        benchmark(name)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_column_that_is_missing_is_named_or_nothing_depends_on_it(
    name: str, distributed: Distributed
) -> None:
    folder = distributed(name)
    whole = benchmark(name, folder, allow_partial=True)
    named = 0
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TABLES):
        before = path.read_bytes()
        for column in _columns(path):
            _drop(path, column)
            try:
                changed = benchmark(name, folder, allow_partial=True)
            except PairError as error:
                said = str(error)
                assert column in said and path.name in said and "\n" not in said, (path.name, column, said)
                named += 1
            else:
                assert changed == whole, (path.name, column)
            path.write_bytes(before)
    assert named


def _columns(path: Path) -> set[str]:
    if path.suffix == ".parquet":
        return set(pd.read_parquet(path).columns)
    if path.suffix in (".csv", ".tsv"):
        return set(path.read_text().split("\n")[0].strip().split("\t" if path.suffix == ".tsv" else ","))
    return {name for row in _objects(_content(path)) for name in row}


def _content(path: Path) -> Any:
    text = path.read_text()
    lines = path.suffix == ".jsonl" or path.name.startswith("coco_pope")
    return [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)


def _objects(content: Any) -> list[dict]:
    if isinstance(content, list):
        return content
    inner = list(content.values())
    return [row for each in inner for row in each] if isinstance(inner[0], list) else inner


def _drop(path: Path, column: str) -> None:
    if path.suffix == ".parquet":
        pd.read_parquet(path).drop(columns=column).to_parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        sep = "\t" if path.suffix == ".tsv" else ","
        table = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False)
        table.drop(columns=column or "Unnamed: 0").to_csv(path, sep=sep, index=False)
    else:
        content = _content(path)
        for row in _objects(content):
            row.pop(column, None)
        lines = path.suffix == ".jsonl" or path.name.startswith("coco_pope")
        path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"", b"\x00\xff garbage {", b"[1, 2]"], ids=["empty", "garbage", "numbers"])
def test_a_damaged_file_is_named(name: str, data: bytes, distributed: Distributed) -> None:
    folder = distributed(name)
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TABLES):
        before = path.read_bytes()
        path.write_bytes(data)
        assert path.name in message(folder, name, allow_partial=True)
        path.write_bytes(before)


WITH_FILES = [
    name
    for name in NAMES
    if name not in ("hades", "mme", "scienceqa", "mmbench", "mmbench-circular", "mmmu", "omni-safetybench")
    and any(arm.split("-")[0] not in ("text", "caption") for arm in CATALOGUE[name].arms)
]


@pytest.mark.parametrize("name", WITH_FILES)
def test_missing_images_are_counted_and_named_and_may_be_allowed(name: str, distributed: Distributed) -> None:
    folder = distributed(name)
    whole = benchmark(name, folder, allow_partial=True)
    lost = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES and _is_asked(name, path))[0]
    lost.unlink()
    said = message(folder, name)
    assert "1 of " in said and "files are missing" in said and lost.name in said
    partial = benchmark(name, folder, allow_partial=True)
    assert any(lost.name in note for note in partial.notes)
    arms = [sum(len(pair.prompts) for pair in pairs) for pairs in (whole, partial)]
    assert arms[1] < arms[0]


def _is_asked(name: str, path: Path) -> bool:
    return name != "figstep-pro" or path.name == "image_0_split_0.png"


@pytest.mark.parametrize("name", WITH_FILES)
@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_an_unreadable_image_is_named(name: str, data: bytes, distributed: Distributed) -> None:
    folder = distributed(name)
    bad = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES and _is_asked(name, path))[0]
    bad.write_bytes(data)
    said = message(folder, name)
    assert "1 cannot be used (image " in said and bad.name in said and "cannot be decoded" in said


@pytest.mark.parametrize("name", ["figstep", "mossbench", "jailbreakv-28k", "siuo"])
def test_a_link_out_of_the_folder_is_refused(name: str, distributed: Distributed, tmp_path: Path) -> None:
    folder = distributed(name)
    image = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES)[0]
    outside = tmp_path / "outside.png"
    outside.write_bytes(image.read_bytes())
    image.unlink()
    image.symlink_to(outside)
    assert "is outside" in message(folder, name, allow_partial=True)


PATHS = {
    "vlguard": ("test.json", "image"),
    "siuo": ("data/siuo_gen.json", "image"),
    "jailbreakv-28k": ("JailBreakV_28K/JailBreakV_28K.csv", "image_path"),
    "harmbench-multimodal": (
        "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv",
        "ImageFileName",
    ),
    "llava-instruct": ("llava_instruct_80k.json", "image"),
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("path", ["../outside.png", "{outside}", "a/../../../outside.png"])
def test_an_image_path_out_of_the_folder_is_refused(
    name: str, path: str, distributed: Distributed, tmp_path: Path
) -> None:
    folder = distributed(name)
    (tmp_path / "outside.png").write_bytes(next(folder.rglob("*.[pj][np]g")).read_bytes())
    file, column = PATHS[name]
    table = folder / file
    given = path.format(outside=tmp_path / "outside.png")
    if table.suffix == ".csv":
        pd.read_csv(table, dtype=str, keep_default_na=False).assign(**{column: given}).to_csv(
            table, index=False
        )
    else:
        table.write_text(json.dumps([row | {column: given} for row in json.loads(table.read_text())]))
    assert "is outside" in message(folder, name, allow_partial=True)


TWICE = {
    "figstep": "data/question/safebench.csv",
    "harmbench": "data/behavior_datasets/harmbench_behaviors_text_all.csv",
    "jailbreakbench": "harmful-behaviors.csv",
    "xstest": "xstest_prompts.csv",
}


@pytest.mark.parametrize("name", TWICE)
def test_a_row_that_stands_there_twice_is_named(name: str, distributed: Distributed) -> None:
    folder = distributed(name)
    path = folder / TWICE[name]
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    assert "occurs 2 times; remove rows or download again" in message(folder, name, allow_partial=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_found_in_the_folder_of_its_name(name: str, distributed: Distributed) -> None:
    folder = distributed(name)
    folder.rename(folder.parent / name)
    assert CATALOGUE[name].folder_in(folder.parent) == folder.parent / name
    assert benchmark(name, folder.parent, allow_partial=True)
    assert CATALOGUE[name].folder_in(folder.parent / "nowhere") is None


def test_the_document_has_the_table_of_the_catalogue(root: Path) -> None:
    lines = (root / "docs/benchmarks.md").read_text("utf-8").splitlines()
    for card in CATALOGUE.values():
        rows = " or ".join(f"{count:,}" for count in card.rows) or "not fixed"
        assert f"| `{card.name}` | {rows} | {', '.join(card.arms)} | {card.licence} |" in lines
    assert sum(line.startswith("| `") for line in lines) == len(CATALOGUE)


def test_a_name_that_is_too_long_for_a_file_is_an_error(distributed: Distributed) -> None:
    folder = distributed("siuo")
    path = folder / "data/siuo_gen.json"
    path.write_text(path.read_text().replace("S-01.png", "x" * 300 + ".png"))
    assert "is not a path; download the file again" in message(folder, "siuo", allow_partial=True)
