"""A sound is read to the sample, at any rate and in any number of channels, or refused with the reason."""

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tones import tone, wav

from regap.errors import PairError
from regap.geometry.data.sounds import Sound


def encoded(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    kept = io.BytesIO()
    soundfile.write(kept, samples, rate, format=kind, subtype=subtype)
    return kept.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_samples_at_their_own_rate_are_those_of_the_file(kind: str) -> None:
    written = np.array([0.0, 0.5, -0.5, 0.25, -1.0])
    found = Sound(encoded(written, 16_000, kind)).samples(16_000)
    assert found.dtype == np.float32 and np.allclose(found, written, atol=2**-15)


def test_channels_become_their_mean() -> None:
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    assert np.allclose(Sound(wav(stereo)).samples(16_000), 0.125 * 32_000 / 32_768, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_length_and_pitch_at_another_rate(rate: int) -> None:
    sound = Sound(wav(0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[:, None], rate))
    found = sound.samples(16_000)
    assert len(found) == 16_000 and sound.seconds == 1.0
    strength = np.abs(np.fft.rfft(found))
    assert strength.argmax() == 440 and np.abs(found[1000:-1000]).max() == pytest.approx(0.5, abs=0.02)


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    high = wav(0.5 * np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000)[:, None], 48_000)
    assert np.abs(Sound(high).samples(16_000)[100:-100]).max() < 0.01


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("WAV", "FLOAT")])
def test_other_formats_are_read(kind: str, subtype: str | None) -> None:
    samples = 0.5 * np.sin(np.arange(16_000) / 8)
    sound = Sound(encoded(samples, 16_000, kind, subtype))
    sound.check("x")
    assert sound.seconds == pytest.approx(1, abs=0.1)


def test_a_file_is_read_again_and_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone(400, 0.2))
    sound = Sound.read(tmp_path / "a.wav")
    assert sound.sha256 == Sound(tone(400, 0.2)).sha256 and sound.seconds == pytest.approx(0.2)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(PairError, match=r"audio .*a.wav: No such file"):
        sound.samples(16_000)


WHOLE = tone(400, 0.2)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 64_000)
OGG = encoded(NOISE, 16_000, "OGG", "VORBIS")
MP3 = encoded(0.5 * np.sin(np.arange(40_000) / 5), 16_000, "MP3")
FLAC = encoded(0.5 * np.sin(np.arange(40_000) / 5), 16_000, "FLAC")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be decoded"),
        (b"no sound at all", "cannot be decoded"),
        (WHOLE[:3000], r"2,956 of its 6,400 bytes are there; copy or download the file again"),
        (FLAC[: len(FLAC) // 2], "cannot be decoded"),
        (MP3[: len(MP3) // 2], "of its 40000 samples are there"),
        (MP3[:3000] + b"0" * 300 + MP3[3300:], "of its 40000 samples are there"),
        (MP3[:3001] + b"0" * 300 + MP3[3001:], "a part of it is damaged or missing|samples are there"),
        (OGG[: OGG.rindex(b"OggS")], "its last page is missing"),
        (OGG + OGG, "it holds several sounds"),
        (OGG[: len(OGG) // 2] + bytes(300) + OGG[len(OGG) // 2 + 300 :], "cannot be decoded"),
        (encoded(np.ones(4000) / 2, 8_000, "AIFF"), "its format is AIFF; save it as WAV"),
        (encoded(np.ones(4000) / 2, 8_000, "RF64"), "its format is RF64; save it as WAV"),
        (FLAC[:21] + b"\xf0" + bytes(4) + FLAC[26:], "it does not say how long it is"),
        (wav(np.ones((300, 1))), "it is 0.019 seconds long; give 0.05 seconds or more"),
        (encoded(np.full(4000, 1e300), 8_000, "WAV", "DOUBLE"), "not all finite and of usable size"),
        (encoded(np.full(4000, 1e-300), 8_000, "WAV", "DOUBLE"), "it is silent"),
        (wav(np.zeros((1600, 1))), "it is silent, or its channels cancel each other"),
        (wav(np.stack([np.full(999, 0.5), np.full(999, -0.5)], 1)), "it is silent, or its channels cancel"),
        (wav(np.zeros((0, 1))), "it holds no samples"),
        (wav(np.ones((9, 1)), 100), r"100 samples a second; save it with 1000 to 768,000"),
        (encoded(np.array([0.1, np.nan] * 999), 8_000, "WAV", "FLOAT"), "its samples are not all finite"),
        (wav(np.ones((601_000, 1)), 1_000), "601 seconds in 1 channels; at most 600 seconds"),
    ],
)
def test_what_cannot_be_heard_whole_is_refused(
    data: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PairError, match=f"^audio mine.wav: .*{message}"):
        Sound(data).check("mine.wav")
    assert capfd.readouterr() == ("", "")  # decoders write to standard error by themselves


def without_length(**mode: Any) -> bytes:
    """An MP3 file of about two seconds without its first frame, which stores the length."""
    kept = io.BytesIO()
    noise = np.random.default_rng(0).standard_normal(88_200) * np.linspace(0.5, 0, 88_200) ** 4
    soundfile.write(kept, noise, 44_100, format="MP3", **mode)
    whole = kept.getvalue()
    return whole[whole.index(whole[:2], 100) :]


CONSTANT = without_length(bitrate_mode="CONSTANT", compression_level=0.5)


@pytest.mark.parametrize("more", [b"", b"TAG" + bytes(125)])
def test_an_mp3_file_that_does_not_store_its_length_is_read_whole(more: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(CONSTANT + more)
    found = Sound.read(tmp_path / "a.mp3")
    assert len(found.samples(44_100)) % 1152 == 0 and found.seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CONSTANT[: len(CONSTANT) // 2], "it ends inside a frame, so a part is missing"),
        (
            without_length(bitrate_mode="VARIABLE"),
            "does not store its length, and its bit rate changes; save it again",
        ),
    ],
)
def test_an_mp3_file_without_length_that_would_be_read_in_part_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(PairError, match=says):
        Sound(content).check("a.mp3")


def test_what_macos_keeps_beside_a_sound_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "._a.wav").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(200))
    with pytest.raises(
        PairError, match=r"what macOS keeps beside a file, not the file itself; name the file without"
    ):
        Sound.read(tmp_path / "._a.wav")


def test_a_wav_file_that_was_written_to_a_pipe_has_no_length_and_is_read() -> None:
    streamed = bytearray(WHOLE)
    struct.pack_into("<I", streamed, 40, 0xFFFFFFFF)
    sound = Sound(bytes(streamed))
    sound.check("x")
    assert len(sound.samples(16_000)) == 3200


def test_an_excerpt_is_a_flac_file_of_its_beginning() -> None:
    found = Sound(tone(400, 3.0, 44_100, 2)).excerpt(1.0)
    assert found.startswith(b"fLaC") and Sound(found).seconds == 1.0


def test_without_soundfile_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(PairError, match=r"pip install 'regap\[audio\]'"):
        Sound(WHOLE).check("x")


def test_a_file_that_changed_since_it_was_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone(400, 0.2))
    sound = Sound.read(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(tone(500, 0.2))
    with pytest.raises(PairError, match=r"a.wav: it has changed since it was read; run again"):
        sound.samples(16_000)


def test_a_process_without_standard_error_reads_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    Sound(tone(400, 0.2)).check("x")
