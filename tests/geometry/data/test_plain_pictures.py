"""A plain picture has the size and the background of the picture that it replaces, and nothing else."""

import io

from PIL import Image

from regap.geometry.data.pairs import Prompt
from regap.geometry.data.pictures import Picture
from regap.geometry.data.plain_pictures import background, with_plain_pictures


def drawn(colour: str, inside: str, size: tuple[int, int] = (40, 30)) -> Picture:
    kept = io.BytesIO()
    image = Image.new("RGB", size, colour)
    image.paste(inside, (4, 4, size[0] - 4, size[1] - 4))
    image.paste(inside, (0, 0, 3, 3))  # some of it reaches the edge
    image.save(kept, "PNG")
    return Picture(kept.getvalue())


def test_every_picture_is_replaced_by_its_background() -> None:
    prompt = Prompt(
        "<image> and <image>", (drawn("red", "white"), drawn("blue", "black", (16, 64))), "system"
    )
    plain = with_plain_pictures(prompt)
    assert (plain.text, plain.system) == (prompt.text, prompt.system)
    shown = [picture.open() for picture in plain.pictures]
    assert [image.size for image in shown] == [(40, 30), (16, 64)]
    assert [image.getcolors() for image in shown] == [[(1200, (255, 0, 0))], [(1024, (0, 0, 255))]]
    assert with_plain_pictures(plain).pictures[0].open().tobytes() == shown[0].tobytes()


def test_what_fills_the_picture_is_not_its_background() -> None:
    assert background(drawn("white", "black", (64, 64)).open()) == (255, 255, 255)
    assert background(drawn("black", "white", (64, 64)).open()) == (0, 0, 0)


def test_words_alone_stay_as_they_are() -> None:
    assert with_plain_pictures(Prompt("brew the mint")) == Prompt("brew the mint")
