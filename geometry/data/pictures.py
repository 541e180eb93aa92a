"""An encoded image of any format, checked to be complete and of a usable size before it is used."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from regap.errors import PairError, first_line
from regap.geometry.data.media import Media, read_media

LARGEST_PICTURE = 64_000_000
"""Most pixels; a larger picture is refused before it is decoded, so that a small file cannot fill the memory."""
MOST_ELONGATED = 200
"""Largest ratio of the longer to the shorter side; beyond it, a resize that keeps proportions may fill the memory."""
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation."""
LIES_ON_ITS_SIDE = (5, 6, 7, 8)


class Picture(Media):
    """An encoded image (PNG, JPEG, ...), identified by a digest of its content; shown upright, as browsers show it."""

    kind = "image"
    measure = "size"

    @classmethod
    def read(cls, path: Path) -> "Picture":
        """Return the picture in a file; raises PairError if it cannot be read or is incomplete."""
        return read_media(cls, path)

    def check(self, name: str) -> None:
        """Raise PairError, with the picture's name, unless all of it can be decoded."""
        try:
            with _decoder(self.encoded()) as image:
                _check_size(name, image.width, image.height)
                _check_pixels(name, image)
                image.load()
        except PairError:
            raise
        except Exception as error:  # each decoder raises its own kind on a damaged file
            reason = "no known format" if isinstance(error, UnidentifiedImageError) else first_line(error)
            raise PairError(
                f"image {name}: cannot be decoded ({reason}); replace the file or remove the row"
            ) from None

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the upright picture, without decoding."""
        with _decoder(self.encoded()) as image:
            width, height = image.size
            return (height, width) if _orientation(image) in LIES_ON_ITS_SIDE else (width, height)

    def open(self) -> Image.Image:
        """Return the decoded image in RGB: upright, on white if it is transparent; the first frame of an animation."""
        with _decoder(self.encoded()) as image:
            turn = UPRIGHT.get(_orientation(image))
            shown = _in_rgb(image)
            return shown if turn is None else shown.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none; Pillow turns TIFF pictures by itself."""
    exif = image.info.get("exif")
    if not isinstance(exif, bytes) or image.format == "TIFF":
        return 1
    try:
        found = Image.Exif()
        found.load(exif)
        return int(found.get(ORIENTATION, 1))
    except Exception:  # damaged metadata, which browsers leave aside too
        return 1


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow would clip values at 255 instead of scaling them
        return Image.fromarray((np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)).convert("RGB")
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


def _check_pixels(name: str, image: Image.Image) -> None:
    """Raise PairError for pixels whose range is not known, and for formats that are programs."""
    if image.format == "EPS":
        raise PairError(f"image {name}: EPS pictures are programs, and are not run; save it as PNG")
    # Pillow reads grey PNG and PGM files of 16 bits in the mode I, and scales PGM values to 16 bits.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise PairError(
            f"image {name}: its pixels are 32-bit numbers, which have no agreed black and white; save it with 8 or "
            "16 bits a pixel"
        )


@contextmanager
def _decoder(encoded: bytes) -> Iterator[Image.Image]:
    """Open without Pillow's warnings: large pictures are refused here, and most metadata is not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(encoded)) as image:
            yield image
