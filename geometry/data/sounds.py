"""Encoded sound of any format, rate and number of channels, checked to be complete before it is used."""

import io
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from math import gcd
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.signal import resample_poly

from regap.errors import PairError, first_line, one_line
from regap.geometry.data.media import Media, read_media
from regap.geometry.data.mp3_frames import samples_of

SHORTEST = 0.05
"""Least seconds; of less, some models make no token."""
LONGEST = 600.0
"""Most seconds; a longer sound is refused before it is decoded, so that a small file cannot fill the memory."""
MOST_SAMPLES = 64_000_000
"""Most samples of all channels together."""
RATES = (1_000, 768_000)
"""Lowest and highest number of samples a second that are resampled."""
FORMATS = ("WAV", "WAVEX", "FLAC", "MP3", "OGG")
LOUDEST = 1000.0
"""Largest sample, where 1 is as loud as a file of whole numbers can be."""
UNKNOWN = 2**40
"""Number of samples from which on a file does not say how many it has."""
STREAMED = 0x7FFF0000
"""A WAV file that was written to a pipe says at least this as its length, which was not known."""

_DAMAGED = re.compile("error: |Illegal Audio-MPEG-Header|stream size off")
_ONE_AT_A_TIME = Lock()
"""Standard error belongs to the whole process."""


class Sound(Media):
    """An encoded sound (WAV, FLAC, MP3, Ogg), identified by a digest of its content.

    Reading it needs soundfile, from the extra `regap[audio]`.
    """

    kind = "audio"
    measure = "seconds"

    @cached_property
    def seconds(self) -> float:
        """Its length, without decoding; of formats that do not store it, an estimate."""
        with _opened(self.encoded()) as file:
            return file.frames / file.samplerate

    @classmethod
    def read(cls, path: Path) -> "Sound":
        """Return the sound in a file; raises PairError if it cannot be read or is incomplete."""
        return read_media(cls, path)

    def check(self, name: str) -> None:
        """Raise PairError, with the sound's name, unless all of it can be decoded and some of it can be heard."""
        _soundfile()
        encoded = self.encoded()
        try:
            with _decoders_heard() as told:
                with _opened(encoded) as file:
                    _check_length(name, file)
                    _check_frames(name, encoded, file)
                _check_whole(name, encoded)
                found = _mono(encoded)
        except PairError:
            raise
        except Exception as error:  # libsndfile and its decoders raise several kinds on a damaged file
            reason = getattr(error, "error_string", None) or first_line(error)
            raise PairError(
                f"audio {name}: cannot be decoded ({reason}); replace the file or remove the row"
            ) from None
        damaged = next((line for line in told if _DAMAGED.search(line)), None)
        if damaged:
            raise PairError(
                f"audio {name}: a part of it is damaged or missing ({one_line(damaged, 120)}); replace the file or "
                "remove the row"
            )
        if not np.isfinite(found).all() or np.abs(found).max() > LOUDEST:
            raise PairError(
                f"audio {name}: its samples are not all finite and of usable size; save it again, with 16 bits a sample"
            )
        if not found.astype(np.float32).any():
            raise PairError(
                f"audio {name}: it is silent, or its channels cancel each other; replace the file or remove the row"
            )

    def excerpt(self, seconds: float = 30.0, rate: int = 16_000) -> bytes:
        """Return its first seconds as a FLAC file of one channel, to be played in a browser."""
        kept = io.BytesIO()
        samples = self.samples(rate)[: int(seconds * rate)]
        _soundfile().write(kept, samples, rate, format="FLAC", subtype="PCM_16")
        return kept.getvalue()

    def samples(self, rate: int) -> Float[np.ndarray, " sample"]:
        """Return the sound at this rate: the mean of its channels, resampled with an antialiasing filter."""
        encoded = self.encoded()
        with _opened(encoded) as file:
            own = file.samplerate
        found = _mono(encoded)
        if own != rate:
            shared = gcd(own, rate)
            found = resample_poly(found, rate // shared, own // shared)
        return found.astype(np.float32)


@contextmanager
def _decoders_heard() -> Iterator[list[str]]:
    """Yield the list that, at the end, holds what decoders wrote to the process's standard error.

    libmpg123 leaves out damaged parts of an MP3 file, and says so only there.
    """
    told: list[str] = []
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as kept:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            own = os.dup(2)
        except OSError:  # a process without a standard error, where decoders say nothing
            yield told
            return
        os.dup2(kept.fileno(), 2)
        try:
            yield told
        finally:
            os.dup2(own, 2)
            os.close(own)
            kept.seek(0)
            told += kept.read().decode(errors="replace").splitlines()


def _mono(encoded: bytes) -> Float[np.ndarray, " sample"]:
    with _opened(encoded) as file:
        expected, found = file.frames, file.read(dtype="float64", always_2d=True)
        counted = samples_of(encoded) if file.format == "MP3" else None
    expected = counted[0] if counted else expected
    if len(found) != expected:
        raise ValueError(f"{len(found)} of its {expected} samples are there")
    return found.mean(axis=1)


def _check_length(name: str, file: Any) -> None:
    if file.format not in FORMATS or file.endian == "BIG":
        raise PairError(f"audio {name}: its format is {file.format}; save it as WAV, FLAC, MP3 or Ogg")
    if file.frames > UNKNOWN:
        raise PairError(
            f"audio {name}: it does not say how long it is; save it again, to a file and not to a pipe"
        )
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise PairError(f"audio {name}: {file.samplerate} samples a second; save it with {low} to {high:,}")
    if file.frames < 1:
        raise PairError(f"audio {name}: it holds no samples; replace the file or remove the row")
    if file.frames < SHORTEST * file.samplerate:
        raise PairError(
            f"audio {name}: it is {file.frames / file.samplerate:.3f} seconds long; give {SHORTEST} seconds or more"
        )
    if file.frames > LONGEST * file.samplerate or file.frames * file.channels > MOST_SAMPLES:
        raise PairError(
            f"audio {name}: {file.frames / file.samplerate:,.0f} seconds in {file.channels} channels; at most "
            f"{LONGEST:.0f} seconds and {MOST_SAMPLES:,} samples are read: make it shorter"
        )


def _check_frames(name: str, encoded: bytes, file: Any) -> None:
    """Raise PairError for an MP3 file that stores no length, if it is cut inside a frame or would not be read whole.

    libsndfile then takes the bit rate of the first frame for that of all, and reads no further. A file that was cut
    between two frames is like a whole one.
    """
    found = samples_of(encoded) if file.format == "MP3" else None
    if found is None:
        return
    samples, is_cut = found
    if is_cut:
        raise PairError(
            f"audio {name}: it ends inside a frame, so a part is missing; copy or download the file again"
        )
    if samples > file.frames:
        raise PairError(
            f"audio {name}: it does not store its length, and its bit rate changes; save it again, as WAV or FLAC"
        )


def _check_whole(name: str, encoded: bytes) -> None:
    """Raise PairError for a file that ends before its sound does, or holds several; libsndfile reads what it can."""
    if encoded[:4] == b"OggS":
        _check_pages(name, encoded)
    if encoded[:4] != b"RIFF":
        return
    place = 12
    while place + 8 <= len(encoded):
        chunk, size = encoded[place : place + 4], struct.unpack_from("<I", encoded, place + 4)[0]
        if chunk == b"data":
            there = len(encoded) - place - 8
            if there < size < STREAMED:
                raise PairError(
                    f"audio {name}: {there:,} of its {size:,} bytes are there; copy or download the file again"
                )
            return
        place += 8 + size + size % 2


def _check_pages(name: str, encoded: bytes) -> None:
    """Raise PairError unless an Ogg file has one beginning, and its last page is marked as the end."""
    pages = [found.start() for found in re.finditer(b"OggS\\0", encoded)]
    flags = [encoded[page + 5] for page in pages if page + 5 < len(encoded)]
    if not flags or not flags[-1] & 4:
        raise PairError(f"audio {name}: its last page is missing; copy or download the file again")
    if sum(flag & 2 for flag in flags) != 2:
        raise PairError(f"audio {name}: it holds several sounds; save each as a file of its own")


def _opened(encoded: bytes) -> Any:
    return _soundfile().SoundFile(io.BytesIO(encoded))


def _soundfile() -> ModuleType:
    try:
        import soundfile  # from an extra
    except (ImportError, OSError):  # OSError: libsndfile itself is missing
        raise PairError("audio needs soundfile, which is not installed; pip install 'regap[audio]'") from None
    return soundfile
