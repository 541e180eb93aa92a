"""A prompt whose pictures show nothing: each is replaced by its own background."""

import io
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from regap.geometry.data.pairs import Prompt
from regap.geometry.data.pictures import Picture


def with_plain_pictures(prompt: Prompt) -> Prompt:
    """Return the prompt with a plain picture of the same size and background in the place of each picture."""
    return replace(prompt, pictures=tuple(plain_picture(each) for each in prompt.pictures))


@lru_cache(maxsize=256)
def plain_picture(picture: Picture) -> Picture:
    """Return a picture of the same size in one colour, the background of this one."""
    kept, image = io.BytesIO(), picture.open()
    Image.new("RGB", image.size, background(image)).save(kept, "PNG", compress_level=1)
    return Picture(kept.getvalue())


def background(image: Image.Image) -> tuple[int, int, int]:
    """Return the most frequent colour of the pixels at the four edges; of equally frequent ones, the darkest."""
    pixels = np.asarray(image.convert("RGB"))
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colours, counts = np.unique(edges, axis=0, return_counts=True)
    red, green, blue = (int(value) for value in colours[counts.argmax()])
    return red, green, blue
