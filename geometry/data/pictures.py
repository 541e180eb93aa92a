"""An encoded image of any format, checked to be complete and of a usable size before it is used."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from regap.errors import PairError

LARGEST_PICTURE = 64_000_000
"""Most pixels; a larger picture is refused before it is decoded, so that a small file cannot fill the memory."""
MOST_ELONGATED = 200
"""Largest ratio of the longer to the shorter side; beyond it, a resize that keeps proportions may fill the memory."""


@dataclass(frozen=True)
class Picture:
    """An encoded image (PNG, JPEG, ...), identified by a digest of its content."""

    data: bytes | Path = field(repr=False)
    """The encoded bytes, or their file; a file is read each time and not kept in memory."""

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes."""
        return hashlib.sha256(self.encoded()).hexdigest()

    def encoded(self) -> bytes:
        """Return the encoded bytes."""
        return self.data if isinstance(self.data, bytes) else self.data.read_bytes()

    @classmethod
    def read(cls, path: Path) -> "Picture":
        """Return the picture in a file; raises PairError if it cannot be read or is incomplete."""
        try:
            encoded = path.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise PairError(f"image {path}: {reason}; check the path, relative to the pairs file") from None
        cls(encoded).check(str(path))
        picture = cls(path)
        object.__setattr__(picture, "sha256", hashlib.sha256(encoded).hexdigest())
        return picture

    def check(self, name: str) -> None:
        """Raise PairError, with the picture's name, unless all of it can be decoded."""
        try:
            with _decoder(self.encoded()) as image:
                _check_size(name, image.width, image.height)
                image.load()
        except PairError:
            raise
        except Exception as error:  # each decoder raises its own kind on a damaged file
            reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
            raise PairError(
                f"image {name}: cannot be decoded ({reason}); replace the file or remove the row"
            ) from None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, without decoding."""
        with _decoder(self.encoded()) as image:
            return image.size

    def open(self) -> Image.Image:
        """Return the decoded image in RGB, on white if it is transparent; the first frame of an animation."""
        with _decoder(self.encoded()) as image:
            if image.mode.startswith(
                "I;16"
            ):  # Pillow would clip 16-bit values at 255 instead of scaling them
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = image.convert("RGBA")
                white = Image.new("RGBA", rgba.size, "white")
                return Image.alpha_composite(white, rgba).convert("RGB")
            return image.convert("RGB")


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > LARGEST_PICTURE:
        raise PairError(
            f"image {name}: {width} x {height} pixels; at most {LARGEST_PICTURE:,} are read: make it smaller"
        )
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise PairError(
            f"image {name}: {width} x {height} pixels; one side is over {MOST_ELONGATED} times the other: "
            "crop it or remove the row"
        )


@contextmanager
def _decoder(encoded: bytes) -> Iterator[Image.Image]:
    """Open without Pillow's warnings: large pictures are refused here, and metadata is not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(encoded)) as image:
            yield image
