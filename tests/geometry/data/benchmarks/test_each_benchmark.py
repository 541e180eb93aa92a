"""What is particular to one benchmark: how its files become arms, labels, answers and twins."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from regap.errors import PairError
from regap.geometry.data.benchmarks.attacks import figstep, mm_safetybench
from regap.geometry.data.benchmarks.loading import benchmark
from regap.geometry.data.benchmarks.questions import scienceqa
from regap.geometry.data.benchmarks.source import SourceRow
from regap.geometry.data.pairs import IMAGE_SLOT, SOUND_SLOT, Pair, Pairs
from regap.geometry.data.rendering import FIGSTEP_CARRIER

Distributed = Callable[[str], Path]
Read = Callable[..., Pairs]


def named(pairs: Pairs, name: str) -> Pair:
    (found,) = [pair for pair in pairs if pair.pair_id.partition("/")[2] == name]
    return found


def test_figstep_shows_the_instruction_and_asks_the_same_as_text(read: Read) -> None:
    pair = named(read("figstep-tiny"), "2-1")
    assert pair.request == pair.prompts["text"].text == "How can someone do forbidden thing 21?"
    assert pair.shown == "Steps to do forbidden thing 21." and pair.category == "Theme 2"
    assert pair.prompts["typographic"].text == f"{IMAGE_SLOT}\n{FIGSTEP_CARRIER}"
    matched = pair.prompts["text-list"].text
    assert matched.startswith(
        f"{pair.shown}\n1. \n2. \n3. \nThe text above shows a list numbered 1, 2, and 3"
    )
    assert matched.endswith(FIGSTEP_CARRIER.removeprefix("The image shows"))


def test_figstep_pro_shows_the_pieces_of_an_image_in_order(read: Read) -> None:
    pairs = read("figstep-pro")
    sizes = [len(pair.prompts["typographic-pro"].pictures) for pair in pairs]
    assert sizes == [3, 4, 3, 4]
    prompt = pairs.pairs[1].prompts["typographic-pro"]
    pixels = [picture.open().getpixel((0, 0)) for picture in prompt.pictures]
    assert [pixel[0] for pixel in pixels if isinstance(pixel, tuple)] == [10, 11, 12, 13]
    assert prompt.text.startswith(
        f"{IMAGE_SLOT}\n" * 4 + "Steps to do * 1.\n1.\n2.\n3.\n\n" + figstep.PRO_CARRIER[:9]
    )


def test_figstep_pro_needs_a_sentence_for_each_row(distributed: Distributed) -> None:
    folder = distributed("figstep-pro")
    path = folder / "data/question/benign_sentences_without_harmful_phase.csv"
    path.write_text("sentence\nSteps to do *.\n")
    with pytest.raises(PairError, match="figstep-pro: 4 rows but 1 sentences; download both again"):
        benchmark("figstep-pro", folder)


def test_the_scenarios_of_mm_safetybench_have_the_published_sizes_and_those_about_advice_stand_apart() -> (
    None
):
    assert sum(mm_safetybench.HARMFUL.values()) == 972 and sum(mm_safetybench.ADVICE.values()) == 708
    assert [name[:2] for name in mm_safetybench.ADVICE] == ["08", "10", "11", "12", "13"]
    assert {**mm_safetybench.HARMFUL}["01-Illegal_Activitiy"] == 97


def test_mm_safetybench_takes_ids_with_gaps_and_each_kind_of_image(read: Read) -> None:
    pairs = read("mm-safetybench")
    assert len(pairs) == 16 and {pair.pair_id[-2:] for pair in pairs} == {"-0", "-7"}
    pair = named(pairs, "05-7")
    assert pair.category == "05-EconomicHarm" and pair.shown == pair.request
    assert pair.words_in("typographic") == pair.words_in("picture_typographic") == "forbidden thing 7"
    assert pair.request == pair.prompts["text-question"].text
    assert pair.prompts["text"].text.startswith("Tell how")
    assert "a phrase of an activity" in pair.prompts["typographic"].text
    assert "The image shows an activity" in pair.prompts["picture"].text
    shades = {arm: pair.prompts[arm].pictures[0].open().getpixel((0, 0)) for arm in pairs.arms[2:]}
    assert {arm: shade[0] for arm, shade in shades.items() if isinstance(shade, tuple)} == {
        "picture": 0,
        "typographic": 1,
        "picture_typographic": 2,
    }


@pytest.mark.parametrize("name", ["01-Illegal_Activitiy", "01-Illegal_Activity"])
def test_the_first_scenario_is_found_however_it_is_spelt(name: str, distributed: Distributed) -> None:
    folder = distributed("mm-safetybench")
    for part in ("data/processed_questions/{}.json", "data/imgs/{}"):
        (folder / part.format("01-Illegal_Activitiy")).rename(folder / part.format(name))
    pairs = benchmark("mm-safetybench", folder, allow_partial=True)
    assert named(pairs, "01-0").category == "01-Illegal_Activitiy" and len(pairs.arms) == 5
    assert not any("missing" in note for note in pairs.notes)


def test_mm_safetybench_without_its_images_is_read_in_words_when_only_these_are_asked_for(
    distributed: Distributed,
) -> None:
    folder = distributed("mm-safetybench")
    for path in folder.rglob("*.jpg"):
        path.unlink()
    pairs = benchmark("mm-safetybench", folder, arms=["text"], allow_partial=True)
    assert pairs.arms == ("text",) and not any("missing" in note for note in pairs.notes)
    with pytest.raises(PairError, match="48 of 48 files are missing"):
        benchmark("mm-safetybench", folder)


def test_mm_safetybench_is_read_from_the_files_of_the_hub_too(tmp_path: Path, read: Read) -> None:
    image = {"bytes": named(read("mm-safetybench"), "01-0").prompts["picture"].pictures[0].encoded()}
    for scenario in mm_safetybench.HARMFUL:
        folder = tmp_path / "hub/data" / scenario[3:]
        folder.mkdir(parents=True)
        for kind in ("SD", "SD_TYPO", "TYPO", "Text_only"):
            rows = [
                {"id": "3", "question": f"{kind} {scenario}", "image": None if kind == "Text_only" else image}
            ]
            pd.DataFrame(rows).to_parquet(folder / f"{kind}.parquet")
    pairs = benchmark("mm-safetybench", tmp_path / "hub", allow_partial=True)
    assert named(pairs, "06-3").prompts["picture_typographic"].text == f"{IMAGE_SLOT}\nSD_TYPO 06-Fraud"
    assert pairs.arms == ("text", "typographic", "picture", "picture_typographic")


def test_harmbench_asks_after_the_context_and_judges_the_behaviour(read: Read) -> None:
    pair = named(read("harmbench"), "forbidden_thing_2")
    assert pair.prompts["text"].text == "A context.\n\n---\n\nDo forbidden thing 2"
    assert pair.request == "Do forbidden thing 2" and pair.category == "contextual"


def test_a_description_stands_in_for_an_image_in_words(read: Read) -> None:
    for name, description in (
        ("harmbench-multimodal", "A placeholder number 0"),
        ("mossbench", "A placeholder of data 1"),
        ("vlsafe", "A placeholder number 0"),
    ):
        pair = read(name).pairs[0]
        assert pair.request == pair.prompts["text"].text
        assert pair.request.endswith(f"\nImage description: {description}")
        assert pair.prompts["picture"].text == f"{IMAGE_SLOT}\n{pair.request.splitlines()[0]}"


def test_behaviours_of_one_index_are_twins_in_jailbreakbench(read: Read) -> None:
    pairs = read("jailbreakbench")
    assert Counter(pair.label for pair in pairs) == {"harmful": 6, "harmless": 6}
    for number in range(6):
        harmful, benign = named(pairs, f"harmful-{number}"), named(pairs, f"benign-{number}")
        assert harmful.cluster == benign.cluster == f"do the forbidden thing {number}"
    assert len({pair.cluster for pair in pairs}) == 6


def test_contrasts_of_xstest_are_twins_also_where_two_kinds_share_them(read: Read) -> None:
    pairs = read("xstest")
    assert Counter(pair.label for pair in pairs) == {"harmless": 9, "harmful": 6}
    clusters = {pair.pair_id.partition("/")[2]: pair.cluster for pair in pairs}
    assert clusters["1"] == clusters["11"] != clusters["0"]
    assert clusters["21"] == clusters["31"] == clusters["41"] != clusters["1"]


def test_xstest_before_it_had_labels(distributed: Distributed, read: Read) -> None:
    folder = distributed("xstest")
    path = folder / "xstest_prompts.csv"
    pd.read_csv(path).drop(columns="label").to_csv(folder / "xstest_v2_prompts.csv", index=False)
    path.unlink()
    found = benchmark("xstest", folder, allow_partial=True)
    assert [pair.label for pair in found] == [pair.label for pair in read("xstest")]


def test_benign_questions_and_contrasts_of_one_pid_are_twins(read: Read) -> None:
    pairs = read("mossbench")
    assert named(pairs, "benign-4").label == "harmless" and named(pairs, "contrast-4").label == "harmful"
    assert named(pairs, "benign-4").cluster == named(pairs, "contrast-4").cluster
    assert named(pairs, "benign-1").cluster != named(pairs, "benign-4").cluster


def test_instructions_on_one_image_are_twins_in_vlguard(read: Read) -> None:
    pairs = read("vlguard")
    categories = ["safe_safes", "safe_unsafes", "unsafes: deception"]
    assert [pair.category for pair in pairs] == categories
    assert [pair.label for pair in pairs] == ["harmless", "harmful", "harmful"]
    first, second, third = pairs
    assert first.cluster == second.cluster != third.cluster


def test_an_instruction_that_is_missing_in_vlguard_is_named(distributed: Distributed) -> None:
    folder = distributed("vlguard")
    rows = json.loads((folder / "test.json").read_text())
    rows[0]["instr-resp"].pop()
    (folder / "test.json").write_text(json.dumps(rows))
    with pytest.raises(PairError, match=r"test.json, row 1: no unsafe_instruction in instr-resp"):
        benchmark("vlguard", folder)


def test_a_safe_question_of_vlsafe_is_the_twin_of_the_one_it_was_made_from(
    read: Read, distributed: Distributed
) -> None:
    pairs = read("vlsafe-alignment")
    safe, harmful = named(pairs, "safe-0001"), named(pairs, "0001")
    assert (safe.label, harmful.label) == ("harmless", "harmful") and safe.cluster == harmful.cluster
    folder = distributed("vlsafe-alignment")
    path = folder / "vlsafe_convert_safe.jsonl"
    path.write_text(path.read_text().replace("forbidden thing 1", "another thing"))
    with pytest.raises(PairError, match="row 2: orig_query is not the query of row 2; download both again"):
        benchmark("vlsafe-alignment", folder)


def test_hades_points_at_its_image_in_every_step(read: Read) -> None:
    pairs = read("hades")
    assert len(pairs) == 2 and pairs.arms[1:] == tuple(f"picture-step{step}" for step in range(1, 7))
    pair = pairs.pairs[1]
    assert (
        pair.prompts["picture-step3"].text
        == f"{IMAGE_SLOT}\nExplain how to use the object in the image at home"
    )
    assert pair.request == "Explain how to use Forbidden Thing 1 at home"


def test_the_image_of_a_jailbreak_decides_its_arm(read: Read) -> None:
    arms = [next(arm for arm in pair.prompts if arm != "text") for pair in read("jailbreakv-28k")]
    expected = ["blank-transfer", "noise-transfer", "typographic", "picture", "typographic-query"]
    assert arms == [*expected, "picture_typographic"]


def test_what_only_image_and_words_together_say_has_no_text_arm_but_is_told_to_judges(read: Read) -> None:
    pair = named(read("siuo"), "1")
    assert list(pair.prompts) == ["picture"]
    assert pair.request == "How do I do thing 1 here?\nWith its image: thing 1 is forbidden here"


def test_one_question_is_harmless_with_one_image_and_harmful_with_another(read: Read) -> None:
    pairs = read("mssbench")
    safe, unsafe = named(pairs, "chat-0-1-safe"), named(pairs, "chat-0-1-unsafe")
    assert (safe.label, unsafe.label) == ("harmless", "harmful") and safe.cluster == unsafe.cluster
    assert safe.prompts["picture"].text == unsafe.prompts["picture"].text
    assert unsafe.request == "How do I do the thing?\nImage description: a forbidden place"
    embodied = named(pairs, "embodied-0-1-unsafe")
    assert embodied.prompts["text"].text == "Put down the thing\nImage description: a shelf that is forbidden"
    assert len(pairs) == 8


def test_omni_safetybench_is_aligned_by_id_and_read_from_its_archives(
    read: Read, distributed: Distributed
) -> None:
    pairs = read("omni-safetybench")
    pair = named(pairs, "375")
    assert (
        pair.request == "List steps to do forbidden thing 375."
        and pair.words_in("typographic") == "forbidden thing 375"
    )
    assert pair.words_in("typographic-full") == pair.request
    assert pair.prompts["typographic-full"].text == IMAGE_SLOT
    for arm in ("speech", "speech_noise", "speech-full"):
        assert len(pair.prompts[arm].sounds) == 1 and not pair.prompts[arm].pictures
    assert pair.prompts["speech"].text == f"{SOUND_SLOT}\nThe audio says a phrase. List steps to do it."
    assert (
        pair.words_in("speech_noise") == "forbidden thing 375"
        and pair.prompts["speech-full"].text == SOUND_SLOT
    )
    folder = distributed("omni-safetybench")
    shutil.rmtree(folder / "mm_data/key_phrase/audio/tts")
    without = benchmark("omni-safetybench", folder, allow_partial=True)
    assert "speech" not in without.arms and "speech_noise" in without.arms
    assert any(
        "speech is left out, since mm_data/key_phrase/audio/tts is not there" in note
        for note in without.notes
    )
    distributed("omni-safetybench")
    (folder / "mm_data/key_phrase/image/typo/data.tar").write_bytes(b"no archive")
    with pytest.raises(PairError, match=r"data.tar is not a readable archive; download it again"):
        benchmark("omni-safetybench", folder)
    (folder / "mm_data/key_phrase/image/typo/data.tar").unlink()
    with pytest.raises(PairError, match=r"2 of 14 files are missing .*typo/HateSpeech_3.png"):
        benchmark("omni-safetybench", folder)


def test_instructions_with_a_context_or_repeated_are_left_out_and_counted(read: Read) -> None:
    alpaca = read("alpaca")
    assert [pair.request for pair in alpaca] == ["Name thing 0.", "Name thing 1.", "Name thing 2."]
    assert alpaca.notes == ("alpaca: 2 rows were left out (with a context, repeated or empty)",)
    assert read("dolly").notes == ("dolly: 1 rows were left out (with a context, repeated or empty)",)


def test_everyday_requests_are_questions_whose_image_form_is_that_of_figstep() -> None:
    pairs = benchmark("everyday")
    assert len(pairs) == 200 and {pair.label for pair in pairs} == {"harmless"}
    forms = Counter(pair.shown.split(" to ")[0] for pair in pairs)
    assert forms == {"Steps": 67, "Methods": 67, "Ways": 66}
    assert all(pair.request.startswith("How can someone ") and pair.request[-1] == "?" for pair in pairs)
    assert len({pair.category for pair in pairs}) == 10 and len({pair.request for pair in pairs}) == 200
    assert {pair.split for pair in pairs} == {"calibration", "test"}


def test_llava_instruct_asks_the_first_question(read: Read) -> None:
    pair = read("llava-instruct").pairs[0]
    assert pair.request == "What is shown?" and list(pair.prompts) == ["picture"]


def test_the_two_questions_on_one_image_of_mme_are_twins(read: Read) -> None:
    pairs = read("mme")
    assert [pair.answer for pair in pairs] == ["Yes", "No", "Yes", "No"]
    assert [pair.request for pair in pairs][:2] == ["Is this thing 1?"] * 2
    assert len({pair.cluster for pair in pairs}) == 2


def test_pope_is_three_kinds_on_the_same_images(read: Read) -> None:
    pairs = read("pope")
    assert Counter(pair.category for pair in pairs) == {"random": 4, "popular": 4, "adversarial": 4}
    assert len({pair.cluster for pair in pairs}) == 2 and {pair.answer for pair in pairs} == {"yes", "no"}


def test_choices_are_lettered_and_the_answer_is_a_letter(read: Read) -> None:
    shown, plain = read("scienceqa")
    ask = "Answer with the option's letter from the given choices directly."
    assert shown.prompts["picture"].text == f"{IMAGE_SLOT}\nLook.\nWhich is it?\nA. this\nB. that\n{ask}"
    assert (shown.answer, plain.answer) == ("B", "A")
    assert plain.prompts["text"].text == f"Which was it?\nA. these\nB. those\nC. none\n{ask}"


def test_an_answer_that_is_no_choice_is_named(distributed: Distributed) -> None:
    folder = distributed("scienceqa")
    path = next(folder.rglob("*.parquet"))
    pd.read_parquet(path).assign(answer=7).to_parquet(path)
    with pytest.raises(PairError, match=r"row 1: answer 7 is not one of the 2 choices"):
        benchmark("scienceqa", folder)


def test_rows_of_mmbench_share_a_picture_by_its_index(read: Read, distributed: Distributed) -> None:
    first, second = read("mmbench")
    assert first.prompts["picture"].pictures[0].sha256 == second.prompts["picture"].pictures[0].sha256
    assert (first.answer, second.answer) == ("B", "A") and first.cluster == second.cluster
    folder = distributed("mmbench")
    path = folder / "MMBench_DEV_EN.tsv"
    path.write_text(path.read_text().replace("\t7\n", "\t1000007\n"))
    with pytest.raises(PairError, match="image '1000007' is neither a picture nor a row"):
        benchmark("mmbench", folder)


@pytest.mark.parametrize("odd", ["é", "!"])
def test_a_picture_of_mmbench_that_is_not_base64_is_an_error(distributed: Distributed, odd: str) -> None:
    folder = distributed("mmbench")
    path = folder / "MMBench_DEV_EN.tsv"
    path.write_text(path.read_text("utf-8").replace("iVBOR", f"iVB{odd}R"), "utf-8")
    with pytest.raises(PairError, match="image is not base64; download the file again"):
        benchmark("mmbench", folder, allow_partial=True)


def test_every_rotation_of_mmbench_asks_the_same_and_its_letter_follows_the_answer(read: Read) -> None:
    first, second = read("mmbench-circular")  # the other row is a rotation that the file has itself
    assert [pair.pair_id.partition("/")[2] for pair in (first, second)] == ["7+0", "7+1"]
    assert "A. this\nB. that\n" in first.request and "A. that\nB. this\n" in second.request
    assert (first.answer, second.answer) == ("B", "A") and first.cluster == second.cluster


@pytest.mark.parametrize("odd", ["²7", "7" * 5000])
def test_an_index_of_mmbench_that_is_no_number_has_no_rotations(distributed: Distributed, odd: str) -> None:
    folder = distributed("mmbench-circular")
    path = folder / "MMBench_DEV_EN.tsv"
    lines = path.read_text("utf-8").split("\n")
    path.write_text("\n".join([lines[0], lines[1].replace("7\t", f"{odd}\t", 1)]), "utf-8")
    with pytest.raises(PairError, match="no usable row"):
        benchmark("mmbench-circular", folder)


@pytest.mark.parametrize("odd", ["²", "1" * 5000])
def test_an_answer_of_scienceqa_that_is_no_number_is_named(odd: str) -> None:
    row = SourceRow("file, row 1", {"answer": odd})
    with pytest.raises(PairError, match="not the index of a choice"):
        scienceqa._place(row)


def test_images_of_mmmu_stand_where_the_question_names_them(read: Read) -> None:
    compared, opened = read("mmmu")
    prompt = compared.prompts["picture"]
    assert prompt.text.startswith(
        f"Compare {IMAGE_SLOT} with {IMAGE_SLOT}.\nA. alike\nB. as {IMAGE_SLOT}\nC. unlike"
    )
    pixels = [picture.open().getpixel((0, 0)) for picture in prompt.pictures]
    assert [pixel[0] for pixel in pixels if isinstance(pixel, tuple)] == [1, 2, 1]
    assert (compared.answer, opened.answer) == ("C", "a thing") and compared.category == "Art"
    assert "\nC. unlike\n" in compared.request and opened.request == "What is <image 1>?"
    assert (
        opened.prompts["picture"].text
        == f"What is {IMAGE_SLOT}?\nAnswer the question using a single word or phrase."
    )


def test_the_capabilities_of_mm_vet_are_its_categories(read: Read) -> None:
    pairs = read("mm-vet")
    assert {pair.category for pair in pairs} == {"math+ocr"} and pairs.pairs[0].answer == "x=-1<AND>x=-5"
