"""A row of speech names its sound, and the model is asked that sound and no other words than those written."""

from pathlib import Path

import pairs_on_disk
import pytest
from pairs_on_disk import Row, refusal
from tones import tone

from regap.errors import PairError
from regap.geometry.data.pair_files import read_pairs, write_pairs
from regap.geometry.data.pairs import SOUND_SLOT, Pair, Pairs, Prompt
from regap.geometry.data.sounds import Sound

TEXT: Row = {"pair_id": "p", "arm": "text", "label": "harmful", "request": "brew tea", "text": "brew tea"}
SPOKEN: Row = TEXT | {"arm": "speech", "text": "", "audio": "said.wav"}
SAID = tone(400, 0.3)


def written(folder: Path, rows: list[Row], kind: str = "csv") -> Path:
    return pairs_on_disk.written(folder, rows, kind, {"said.wav": SAID})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_sound_alone_is_the_message_if_text_is_empty(kind: str, tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT, SPOKEN], kind))
    prompt = pair.prompts["speech"]
    assert prompt.text == SOUND_SLOT and prompt.sounds[0].encoded() == SAID
    assert pair.words_in("speech") == "brew tea"


def test_the_sound_alone_is_the_message_if_there_is_no_text(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "text"} for row in (TEXT, SPOKEN)]
    (pair,) = read_pairs(written(tmp_path, rows))
    assert pair.prompts["speech"].text == SOUND_SLOT and pair.prompts["text"].text == "brew tea"


@pytest.mark.parametrize(
    ("text", "asked"),
    [("do that", "<audio>\ndo that"), ("first <audio> then do", "first <audio> then do")],
)
def test_words_stay_beside_the_sound(text: str, asked: str, tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, [TEXT, SPOKEN | {"text": text}]))
    assert pair.prompts["speech"].text == asked


def test_a_list_of_messages_may_hold_sounds(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "do "}, {"type": "audio", "audio": "said.wav"}]
    row = SPOKEN | {"audio": None, "text": [{"role": "user", "content": parts}]}
    (pair,) = read_pairs(written(tmp_path, [TEXT, row], "jsonl"))
    assert pair.prompts["speech"].text == "do <audio>" and pair.prompts["speech"].sounds[0].encoded() == SAID


def test_several_sounds_go_where_their_slots_are(tmp_path: Path) -> None:
    row = SPOKEN | {"audio": None, "audios": ["said.wav", "said.wav"], "text": "<audio> or <audio>?"}
    (pair,) = read_pairs(written(tmp_path, [TEXT, row], "jsonl"))
    assert pair.prompts["speech"].words == ("", " or ", "?") and len(pair.prompts["speech"].sounds) == 2


def test_bytes_of_a_sound_as_hugging_face_data_sets_hold_them(tmp_path: Path) -> None:
    row = SPOKEN | {"audio": {"bytes": SAID, "path": None}}
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"audio": None}, row], "parquet"))
    assert pair.prompts["speech"].sounds[0].encoded() == SAID


def test_sounds_are_written_and_read_back(tmp_path: Path) -> None:
    sounds = (Sound(SAID), Sound(tone(600, 0.2)))
    prompts = {
        "text": Prompt("brew tea"),
        "speech": Prompt(SOUND_SLOT, sounds=sounds[:1]),
        "speech-two": Prompt("<audio> and <audio>", sounds=sounds),
    }
    pairs = Pairs((Pair("p", "harmful", "any", "brew tea", "test", prompts),))
    write_pairs(pairs, tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path / "pairs.parquet") == pairs


def test_the_mark_of_a_sound_is_a_word_where_there_is_no_sound(tmp_path: Path) -> None:
    words = "what is the tag <audio> for?"
    (pair,) = read_pairs(written(tmp_path, [TEXT | {"request": words, "text": words}]))
    assert pair.prompts["text"].text == words and pair.prompts["text"].words == (words,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": ""}, "text is empty; fill it in or remove the row|arm speech has no sound"),
        (
            {"audio": "", "text": "do"},
            "arm speech has no sound, but is asked with one; give the sound (audio)",
        ),
        ({"audio": "gone.wav"}, "audio .*gone.wav: No such file or directory"),
        ({"audio": "../said.wav"}, "audio ../said.wav is outside the folder of the pairs file"),
        ({"text": "a <audio> b <audio>"}, "has 2 x <audio> and 1 sound"),
        ({"arm": "text", "pair_id": "q", "text": "do"}, "arm text has a sound, but is asked in words"),
        ({"arm": "picture", "text": "do"}, "arm picture has a sound, but is asked with a picture"),
        ({"audio": "pairs.csv"}, "audio .*pairs.csv: cannot be decoded"),
        ({"audio": "data:audio/wav;base64,UklGR"}, "not a path; save it as a file"),
    ],
)
def test_a_row_whose_sound_is_missing_or_misplaced_is_named(
    change: Row, message: str, tmp_path: Path
) -> None:
    said = refusal(written(tmp_path, [TEXT, SPOKEN | change]))
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    assert "row 2: " in said
    with pytest.raises(PairError, match=pattern):
        read_pairs(tmp_path / "pairs.csv")


def test_a_place_for_a_sound_without_a_sound_is_no_word(tmp_path: Path) -> None:
    row = TEXT | {"text": [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "hi"}]}]}
    with pytest.raises(PairError, match="row 1: text has a place for a sound, and the row names none"):
        read_pairs(written(tmp_path, [row], "jsonl"))
