"""Speech says the request, always in the same samples; noise has the power that was asked for."""

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tones import tone

from regap.errors import PairError
from regap.geometry.data.arm_synthesis import with_arms
from regap.geometry.data.pairs import SOUND_SLOT, Pair, Pairs, Prompt
from regap.geometry.data.sounds import Sound
from regap.geometry.data.speech import Speaker, in_noise

speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def pair(request: str = "brew some tea", **prompts: Prompt) -> Pair:
    return Pair("p", "harmless", "any", request, "test", {"text": Prompt(request), **prompts})


@pytest.mark.parametrize("decibels", [0.0, 10.0, 20.0])
def test_noise_has_the_asked_share_of_the_power(decibels: float) -> None:
    clean = Sound(tone(500, 1.0))
    noisy = in_noise(clean, "q", 0, decibels)
    before, after = clean.samples(16_000).astype(float), noisy.samples(16_000).astype(float)
    scale = before @ after / (before @ before)  # the sum is made quieter where it would clip
    noise = after / scale - before
    assert 10 * np.log10((before @ before) / (noise @ noise)) == pytest.approx(decibels, abs=0.3)


def test_noise_is_drawn_by_request_and_seed_and_is_the_same_each_time() -> None:
    clean = Sound(tone(500, 0.5))
    drawn = [in_noise(clean, *given).sha256 for given in (("a", 0), ("a", 0), ("b", 0), ("a", 1))]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3


@speaks
def test_a_request_is_spoken_the_same_each_time_and_longer_if_it_has_more_words() -> None:
    speaker = Speaker()
    short, long = (
        speaker.speak("brew tea"),
        speaker.speak("brew some tea for all of us, please, and be quick"),
    )
    assert short.sha256 == speaker.speak("brew tea").sha256 and long.seconds > 1.5 * short.seconds
    short.check("x")


@speaks
@pytest.mark.parametrize("request_", ["--version", "-f /etc/hostname", "<speak>tea</speak>", "[[t'i:]] brew"])
def test_a_request_is_words_and_never_an_option_or_a_sound_code(request_: str) -> None:
    assert Speaker().speak(request_).seconds > 0.3


@speaks
@pytest.mark.parametrize("request_", ["", " \n", "..."])
def test_a_request_without_words_is_refused(request_: str) -> None:
    with pytest.raises(PairError, match="espeak-ng says nothing for the request"):
        Speaker().speak(request_)


@speaks
@pytest.mark.parametrize("voice", ["nobody", "", "-w", "../en", "en us"])
def test_an_unknown_voice_is_refused_before_anything_is_spoken(voice: str) -> None:
    with pytest.raises(PairError, match=r"espeak-ng --voices"):
        with_arms(Pairs((pair(),)), "speech", voice=voice)


@speaks
@pytest.mark.parametrize("voice", ["en+nosuch", "en+F1", "en+9", "en+", "en+f1+f2"])
def test_a_variant_that_espeak_would_leave_out_is_refused(voice: str) -> None:
    with pytest.raises(PairError, match=r"has no variant '.*'.*name one of `espeak-ng --voices=variant`"):
        with_arms(Pairs((pair(),)), "speech", voice=voice)


@speaks
@pytest.mark.parametrize("variant", ["f1", "m3", "3", "13", "whisper"])
def test_a_variant_that_espeak_has_sounds_otherwise(variant: str) -> None:
    spoken = Speaker(f"en+{variant}")
    spoken.check()
    assert spoken.speak("hello").sha256 != Speaker("en").speak("hello").sha256


@speaks
def test_arms_of_speech_hold_the_sound_alone_and_say_the_request() -> None:
    made = with_arms(Pairs((pair(),)), ["speech", "speech_noise"])
    (found,) = made.pairs
    for arm in ("speech", "speech_noise"):
        prompt = found.prompts[arm]
        assert prompt.text == SOUND_SLOT and len(prompt.sounds) == 1 and not prompt.pictures
        assert found.words_in(arm) == "brew some tea"
    assert found.prompts["speech"].sounds != found.prompts["speech_noise"].sounds
    assert any("eSpeak NG" in note and "en-us" in note and "seed 0" in note for note in made.notes)


@speaks
def test_speech_of_the_users_own_is_kept_as_a_variant() -> None:
    own = Prompt(SOUND_SLOT, sounds=(Sound(tone(400, 0.3)),))
    (found,) = with_arms(Pairs((pair(speech=own),)), "speech").pairs
    assert found.prompts["speech-distributed"] == own and found.prompts["speech"] != own


def test_without_espeak_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # noqa: ARG005 - as the original
    with pytest.raises(PairError, match=r"apt-get install espeak-ng.*column audio"):
        with_arms(Pairs((pair(),)), "speech")


def test_a_program_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(PairError, match=r"took over 60 seconds for the request 'brew tea'"):
        Speaker().speak("brew tea")


@speaks
def test_control_characters_are_no_commands() -> None:
    assert Speaker().speak("hello\x01500S there").sha256 == Speaker().speak("hello 500S there").sha256


@speaks
def test_a_word_that_would_be_cut_is_refused() -> None:
    with pytest.raises(PairError, match="has a word of over 150 letters"):
        Speaker().speak("decode " + "QUJD" * 100)


@speaks
@pytest.mark.parametrize("arm", ["speech", "speech_noise"])
def test_requests_that_the_voice_cannot_tell_apart_are_refused(arm: str) -> None:
    pairs = [replace(pair(request), pair_id=str(place)) for place, request in enumerate(("做蛋糕", "造炸弹"))]
    with pytest.raises(
        PairError, match=r"pairs '0' and '1' are spoken alike by the voice en-us; name a voice"
    ):
        with_arms(Pairs(tuple(pairs)), arm)


@speaks
def test_an_arm_named_twice_is_made_once_and_nothing_of_the_users_is_overwritten() -> None:
    twice = with_arms(Pairs((pair(),)), ["speech", "speech"])
    assert set(twice.pairs[0].prompts) == {"text", "speech"}
    again = with_arms(twice, "speech")
    with pytest.raises(PairError, match="has the arms speech and speech-distributed already"):
        with_arms(again, "speech")
