"""Which pairs a run asks: a benchmark gets what it lacks, and both labels get it alike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from regap.analyses.runs.config import read_config
from regap.analyses.runs.pairs import comparable, pairs_of, with_system
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pair, Pairs, Picture, Prompt, Split
from regap.geometry.data.rendering import FIGSTEP_CARRIER, GRID_CARRIER, PLAIN_CARRIER, blank

SHOWN = Prompt("<image>", (blank((8, 8)),))


def figstep(folder: Path) -> Path:
    """SafeBench-Tiny whole, with placeholders."""
    images = folder / "images/SafeBench-Tiny"
    images.mkdir(parents=True)
    lines = ["dataset,category_id,task_id,category_name,question,instruction"]
    for category in range(1, 11):
        for task in range(1, 6):
            thing = f"do forbidden thing {category} {task}"
            lines.append(f"ForbidQI,{category},{task},Theme,How can someone {thing}?,Steps to {thing}.")
            (images / f"query_ForbidQI_{category}_{task}_6.png").write_bytes(blank((8, 8)).encoded())
    (folder / "SafeBench-Tiny.csv").write_text("\n".join(lines) + "\n")
    return folder


def jailbreakbench(folder: Path) -> Path:
    for kind, deed in (("harmful", "forbidden"), ("benign", "allowed")):
        rows = [f"{n},Do the {deed} thing {n},,Thing,theme,Original" for n in range(100)]
        header = "Index,Goal,Target,Behavior,Category,Source"
        (folder / f"{kind}-behaviors.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def asked(**settings: Any) -> Pairs:
    return pairs_of(read_config(None, **settings))


def test_a_harmful_benchmark_gets_everyday_requests_and_all_images_are_drawn_in_one_style(
    tmp_path: Path,
) -> None:
    pairs = asked(benchmark="figstep-tiny", data=str(figstep(tmp_path)))
    assert pairs.require_both_labels() == pairs
    assert (len(pairs.where(label="harmful")), len(pairs.where(label="harmless"))) == (50, 200)
    assert pairs.arms == ("text", "typographic")
    for pair in pairs:
        prompt = pair.prompts["typographic"]
        assert prompt.text == f"<image>\n{FIGSTEP_CARRIER}" and prompt.pictures[0].size == (760, 760)
        assert pair.shown.split(" to ")[0] in ("Steps", "Methods", "Ways")
    assert any("text-list, typographic-distributed" in note for note in pairs.notes)


def test_a_benchmark_in_words_with_both_labels_gets_images_alone(tmp_path: Path) -> None:
    pairs = asked(
        benchmark="jailbreakbench", data=str(jailbreakbench(tmp_path)), style="plain", make=("blank",)
    )
    assert len(pairs) == 200 and pairs.arms == ("text", "typographic", "blank")
    assert all(PLAIN_CARRIER in pair.prompts["typographic"].text for pair in pairs)
    clusters = {pair.cluster: set[Split]() for pair in pairs}
    for pair in pairs:
        clusters[pair.cluster].add(pair.split)
    assert len(clusters) == 100 and all(len(splits) == 1 for splits in clusters.values())


def test_a_named_harmless_source_goes_beside_what_a_benchmark_has(tmp_path: Path) -> None:
    data = str(jailbreakbench(tmp_path))
    pairs = asked(benchmark="jailbreakbench", data=data, harmless="everyday")
    assert len(pairs.where(label="harmless")) == 300
    with pytest.raises(PairError, match="benchmark 'everyda' is not known; did you mean everyday"):
        asked(benchmark="jailbreakbench", data=data, harmless="everyda")


def test_a_limit_counts_pairs_of_each_split_and_label(tmp_path: Path) -> None:
    pairs = asked(benchmark="jailbreakbench", data=str(jailbreakbench(tmp_path)), limit=4)
    assert len(pairs) == 16


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"benchmark": "xstest", "pairs": "p.csv"},
            "benchmark is 'xstest' and pairs is 'p.csv'; name one of them",
        ),
        ({"data": "x"}, "data and harmless need a benchmark"),
        ({"harmless": "dolly"}, "data and harmless need a benchmark"),
    ],
)
def test_pairs_that_are_named_in_two_ways_or_by_half(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"style": "fancy"}, "style 'fancy' is not known; choose one of figstep"),
        ({"make": ("audio",)}, "make is 'audio'; choose from typographic, blank"),
        ({"benchmark": "figstep"}, "benchmark figstep needs the folder of its files"),
    ],
)
def test_what_is_misspelt_is_refused_before_a_model_is_loaded(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((PairError, ConfigError), match=said):
        asked(**settings)


def four(arms: Callable[[str, str], dict[str, Prompt]]) -> Pairs:
    return Pairs(
        tuple(
            Pair(f"{label} {split}", label, "k", f"{label} {split}", split, arms(label, split))
            for label in ("harmful", "harmless")
            for split in get_args(Split)
        )
    )


def test_arms_that_one_label_lacks_in_one_split_are_left_out_and_named() -> None:
    def arms(label: str, split: str) -> dict[str, Prompt]:
        everywhere = {"text": Prompt("a"), "typographic": SHOWN}
        return everywhere | ({"picture": SHOWN} if (label, split) != ("harmless", "test") else {})

    narrowed = comparable(four(arms))
    assert narrowed.arms == ("text", "typographic") and len(narrowed) == 4
    assert narrowed.notes == ("left out, since not both labels have it in both splits: picture",)
    assert comparable(narrowed) is narrowed


def test_pictures_of_all_pairs_can_be_opened(tmp_path: Path) -> None:
    pairs = asked(
        benchmark="figstep-tiny", data=str(figstep(tmp_path)), limit=4, make=("noise", "blank-colour")
    )
    pictures = [picture for pair in pairs for prompt in pair.prompts.values() for picture in prompt.pictures]
    assert len(pictures) == 3 * 16 and all(isinstance(picture, Picture) for picture in pictures)
    assert {picture.size for picture in pictures} == {(760, 760), (8, 8)} or {
        picture.size for picture in pictures
    } == {(760, 760)}


def test_a_system_message_stands_before_every_prompt_without_one() -> None:
    pairs = asked(limit=4, system="Be brief.")
    assert {prompt.system for pair in pairs for prompt in pair.prompts.values()} == {"Be brief."}
    own = replace(pairs.pairs[0].prompts["text"], system="Own.")
    kept = with_system(Pairs((replace(pairs.pairs[0], prompts={"text": own}),)), "Be brief.")
    assert kept.pairs[0].prompts["text"].system == "Own."


def test_columns_and_labels_of_a_pairs_file_are_mapped(tmp_path: Path) -> None:
    cells = [(label, split) for label in ("bad", "good") for split in ("calibration", "test")]
    rows = [f"{label}{split},ask {label} {split},{label},{split}" for label, split in cells]
    rows = ["id,prompt,verdict,split", *rows]
    (tmp_path / "own.csv").write_text("\n".join(rows))
    mapped = {"columns": ("prompt=text", "verdict=label"), "labels": ("bad=harmful", "good=harmless")}
    pairs = asked(pairs=str(tmp_path / "own.csv"), **mapped)
    assert [pair.label for pair in pairs] == ["harmful", "harmful", "harmless", "harmless"]
    assert pairs.pairs[0].prompts["text"].text == "ask bad calibration"


def test_the_english_subject_is_asked_our_held_out_requests_in_pictures_that_it_can_read() -> None:
    pairs = pairs_of(read_config(model="english:middle-0", limit=6, make=("typographic", "blank")))
    assert {pair.pair_id.split("/")[0] for pair in pairs} == {"english", "english-everyday"}
    assert {(pair.split, pair.label) for pair in pairs} == {
        (split, label) for split in ("calibration", "test") for label in ("harmful", "harmless")
    }
    shown = [pair.prompts["typographic"] for pair in pairs]
    assert {prompt.pictures[0].size for prompt in shown} == {(128, 128)}
    assert all(GRID_CARRIER in prompt.text for prompt in shown)
    assert {pair.prompts["blank"].pictures[0].size for pair in pairs} == {(128, 128)}


def test_no_picture_is_drawn_for_a_run_in_words_alone() -> None:
    asked = read_config(model="english:base", benchmark="english", arms=("text",), limit=4)
    assert pairs_of(asked).arms == ("text",)
