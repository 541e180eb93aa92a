"""Requests spoken by espeak-ng, clean or in noise."""

import io
import re
import shutil
import subprocess
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
from jaxtyping import Int

from regap.errors import PairError, one_line
from regap.geometry.data.sounds import LONGEST, Sound

PROGRAM = "espeak-ng"
SECONDS = 60
"""Most time for one request."""
DECIBELS = 10.0
"""How much louder speech is than the noise that is added, in power over the whole sound. Ours."""
LARGEST = 2**15 - 1
LONGEST_WORD = 150
"""Most letters of a word; espeak-ng leaves out the end of much longer ones."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Speaker:
    """A voice of espeak-ng; the same voice and version speak a request always in the same samples."""

    voice: str = "en-us"
    words_a_minute: int = 160

    @cached_property
    def program(self) -> str:
        """The path of espeak-ng; raises PairError if it is not installed."""
        found = shutil.which(PROGRAM)
        if found is None:
            raise PairError(
                f"speech is made by {PROGRAM}, which is not installed; install it (apt-get install {PROGRAM}, "
                f"brew install {PROGRAM}), or give files of your own in the column audio"
            )
        return found

    def check(self) -> None:
        """Raise PairError unless espeak-ng is installed and has the voice."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+_-]*", self.voice):
            raise PairError(f"voice is {self.voice!r}; name one of `{PROGRAM} --voices`, such as en-us")
        _run([self.program, "-v", self.voice, "-q", "a"], "", f"with the voice {self.voice!r}")
        _, plus, variant = self.voice.partition("+")
        if plus and variant not in self._variants():
            raise PairError(
                f"voice is {self.voice!r}, and {PROGRAM} has no variant {variant!r}, which it would leave out; name "
                f"one of `{PROGRAM} --voices=variant` as it is written after !v/, such as en+f3"
            )

    def _variants(self) -> set[str]:
        """Return what may stand after the plus: names of files, and numbers, which stand for m1, m2, ... and f1, ..."""
        told = _run([self.program, "--voices=variant"], "", "its variants")
        found = set(re.findall(r"!v/(\S+)", told))
        numbered = {each: each[1:] for each in found if re.fullmatch(r"[mf][1-9]", each)}
        return found | {number if each[0] == "m" else f"1{number}" for each, number in numbered.items()}

    @property
    def version(self) -> str:
        """The version of espeak-ng, for notes."""
        said = _run([self.program, "--version"], "", "its version")
        return said.partition("Data at")[0].strip()

    def speak(self, request: str) -> Sound:
        """Return the request spoken, as a WAV file of 16 bits and one channel.

        Raises PairError if espeak-ng cannot be run or says nothing, as for a request without letters.
        """
        told = f"the request {request[:60]!r}"
        if any(len(word) > LONGEST_WORD for word in request.split()):
            raise PairError(
                f"{told} has a word of over {LONGEST_WORD} letters, of which {PROGRAM} would leave out a part; put "
                "spaces in it, or leave the pair out"
            )
        with TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            # [[...]] would be read as phonemes, and control characters as commands.
            words = _CONTROL.sub(" ", request.replace("[[", "[ ["))
            command = [self.program, "-v", self.voice, "-s", str(self.words_a_minute), "-b", "1"]
            _run([*command, "-w", str(path), "--stdin"], words, told)
            if not path.is_file():
                raise PairError(
                    f"{PROGRAM} says nothing for {told}; write it in words, or leave the pair out"
                )
            samples, rate = _samples(path.read_bytes())
        if len(samples) > LONGEST * rate:
            raise PairError(
                f"{told} takes {len(samples) / rate:.0f} seconds to say; at most {LONGEST:.0f} are read: make it "
                "shorter"
            )
        if not samples.any():
            raise PairError(f"{PROGRAM} says nothing for {told}; write it in words, or leave the pair out")
        return _wav(samples, rate)


def in_noise(speech: Sound, request: str, seed: int, decibels: float = DECIBELS) -> Sound:
    """Return speech of `Speaker.speak` with white noise added; the noise is drawn anew for each request.

    The speech has `decibels` more power than the noise, over the whole sound. Both are made quieter alike if their sum
    would clip. Our operationalisation.
    """
    samples, rate = _samples(speech.encoded())
    spoken = samples.astype(np.float64)
    drawn = int.from_bytes(sha256(f"{seed}\0{request}".encode()).digest()[:8], "big")
    noise = np.random.default_rng(drawn).standard_normal(len(spoken))
    noise *= np.sqrt(np.square(spoken).mean() / 10 ** (decibels / 10) / np.square(noise).mean())
    mixed = spoken + noise
    mixed *= min(1.0, LARGEST / np.abs(mixed).max())
    return _wav(mixed.round().astype(np.int16), rate)


def _clean(speech: Sound, request: str, seed: int) -> Sound:  # noqa: ARG001 - one signature for all
    return speech


SPEECH: Mapping[str, Callable[[Sound, str, int], Sound]] = MappingProxyType(
    {"speech": _clean, "speech_noise": in_noise}
)
"""How each arm of speech is made of the request spoken, the request and a seed."""


def _samples(encoded: bytes) -> tuple[Int[np.ndarray, " sample"], int]:
    """Return the samples and the rate of a WAV file of 16 bits and one channel."""
    with wave.open(io.BytesIO(encoded)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise PairError("noise is added only to speech of one channel and 16 bits; make the speech anew")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def _wav(samples: Int[np.ndarray, " sample"], rate: int) -> Sound:
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return Sound(kept.getvalue())


def _run(command: list[str], words: str, told: str) -> str:
    try:
        done = subprocess.run(command, input=words.encode(), capture_output=True, timeout=SECONDS, check=True)
    except subprocess.TimeoutExpired:
        raise PairError(f"{PROGRAM} took over {SECONDS} seconds for {told}; make it shorter") from None
    except subprocess.CalledProcessError as error:
        said = one_line(error.stderr.decode(errors="replace").strip() or "it failed")
        raise PairError(f"{PROGRAM} cannot speak {told} ({said}); see `{PROGRAM} --voices`") from None
    except OSError as error:
        raise PairError(f"{PROGRAM} cannot be run ({error.strerror})") from None
    return done.stdout.decode(errors="replace")
