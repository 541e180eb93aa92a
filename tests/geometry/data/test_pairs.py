"""Pairs check themselves; pictures of every kind open as RGB, and a broken one is refused in one sentence."""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from regap.errors import PairError
from regap.geometry.data import pairs as module
from regap.geometry.data import pictures
from regap.geometry.data.arm_synthesis import with_arms
from regap.geometry.data.pairs import Pair, Pairs, Picture, Prompt, check_arm, is_media_arm, split_of

RED = Image.new("RGB", (8, 6), (200, 10, 10))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pair(
    name: str, label: Any = "harmful", split: Any = "test", prompts: Mapping[str, Prompt] | None = None
) -> Pair:
    return Pair(name, label, "kind", "a request", split, prompts or {"text": Prompt("a request")})


def balanced() -> Pairs:
    cells = [(label, split) for split in ("calibration", "test") for label in ("harmful", "harmless")]
    return Pairs(
        tuple(pair(f"{label} {split} {n}", label, split) for label, split in cells for n in range(3))
    )


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that says how large it would be, and ends where its pixels would begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + checked + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
        (encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16))), (156, 156, 156)),
        (encoded(Image.new("P", (4, 4), 0), transparency=0), (255, 255, 255)),
        (encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), (255, 255, 255)),
        (encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 255))), (255, 0, 0)),
        (encoded(Image.new("LA", (4, 4), (7, 255))), (7, 7, 7)),
        (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        (encoded(Image.new("L", (1, 1), 9)), (9, 9, 9)),
        (
            encoded(
                Image.new("L", (4, 4), 0), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 255)]
            ),
            (0, 0, 0),
        ),
        (encoded(Image.new("RGB", (4, 4), (255, 0, 0)), "BMP"), (255, 0, 0)),
    ],
    ids=["CMYK", "16 bits", "palette", "clear", "opaque", "grey", "1 bit", "one pixel", "animation", "BMP"],
)
def test_unusual_pictures_open_as_rgb(data: bytes, expected: tuple[int, ...]) -> None:
    picture = Picture(data)
    picture.check("picture")
    shown = picture.open()
    seen = shown.getpixel((0, 0))
    assert shown.mode == "RGB" and isinstance(seen, tuple)
    assert max(abs(a - b) for a, b in zip(seen, expected, strict=True)) <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    Picture(data).check("whole")
    with pytest.raises(
        PairError, match=r"image cut: cannot be decoded .*; replace the file or remove the row"
    ):
        Picture(data[: len(data) // 2]).check("cut")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PairError, match=r"image it: cannot be decoded \((?!.*0x)"):
        Picture(data).check("it")


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_picture_is_refused_or_opens_but_nothing_else(seed: int) -> None:
    generator = np.random.default_rng(seed)
    noise = Image.fromarray(generator.integers(0, 255, (20, 20, 3), dtype=np.uint8))
    data = bytearray(encoded(noise, ["PNG", "JPEG", "GIF", "TIFF", "WEBP"][seed % 5]))
    for place in generator.integers(0, min(len(data), 300), 5):
        data[place] = generator.integers(256)
    picture = Picture(bytes(data))
    try:
        picture.check("it")
    except PairError:
        return
    assert picture.open().mode == "RGB"


def test_a_picture_larger_than_allowed_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "LARGEST_PICTURE", 48)
    Picture(encoded(RED)).check("eight by six")
    with pytest.raises(PairError, match="image it: 9 x 6 pixels; at most 48 are read: make it smaller"):
        Picture(encoded(Image.new("RGB", (9, 6)))).check("it")


@pytest.mark.parametrize("size", [(1, 60_000_000), (60_000_000, 1), (201, 1)])
def test_a_picture_that_a_resize_would_make_huge_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(
        PairError, match=r"image strip: .* one side is over 200 times the other: crop it or remove"
    ):
        Picture(header_of_png(*size)).check("strip")
    strip = Picture(encoded(Image.new("L", (200, 1))))
    strip.check("just allowed")
    assert strip.size == (200, 1)


@pytest.mark.parametrize("side", [9_000, 12_000, 30_000])
def test_a_small_file_that_would_fill_the_memory_is_refused(side: int) -> None:
    with pytest.raises(PairError, match=r"image bomb: .*pixels"):
        Picture(header_of_png(side, side)).check("bomb")


def test_a_picture_in_a_file_is_known_by_its_content_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(encoded(RED))
    picture = Picture.read(path)
    assert (
        picture.sha256 == Picture(path.read_bytes()).sha256 != Picture(encoded(Image.new("L", (1, 1)))).sha256
    )
    assert picture.data == path and picture.open().tobytes() == RED.tobytes()


@pytest.mark.parametrize("text", ["no slot", "<image> and <image>"])
def test_a_picture_goes_where_the_text_says_once(text: str) -> None:
    with pytest.raises(PairError, match="and 1 picture; write <image> once where each picture goes"):
        Prompt(text, (Picture(encoded(RED)),))


def test_a_slot_needs_a_picture() -> None:
    with pytest.raises(PairError, match="has 1 x <image> and no picture"):
        Prompt("look at <image>")


@pytest.mark.parametrize(("field", "value"), [("label", "evil"), ("split", "train")])
@pytest.mark.usefixtures("unchecked")
def test_an_unknown_label_or_split_is_named(field: str, value: str) -> None:
    with pytest.raises(PairError, match=f"pair 'p': {field} is '{value}'; write one of "):
        chosen: dict[str, Any] = {field: value}
        pair("p", **chosen)


def test_a_pair_has_an_arm_which_need_not_be_text() -> None:
    assert list(pair("p", prompts={"caption": Prompt("words")}).prompts) == ["caption"]
    with pytest.raises(PairError, match="pair 'p' has no arm; add a row with arm=text or an image arm"):
        Pair("p", "harmful", "kind", "a request", "test", {})


def test_an_image_shows_the_request_unless_other_words_are_named() -> None:
    assert pair("p").shown == "a request"
    image = Prompt("<image>", (Picture(encoded(RED)),), shown="")
    shown = pair("p", prompts={"text": Prompt("a", shown="b"), "typographic": image})
    assert shown.shown == "b" and shown.words_in("text") == "b" and shown.words_in("typographic") is None
    assert pair("p").words_in("text") == "a request"


def test_notes_stay_with_the_pairs() -> None:
    noted = Pairs(balanced().pairs, ("one image is missing",))
    assert noted.test.first(1).notes == noted.where(label="harmful").notes == ("one image is missing",)
    assert (noted + Pairs((pair("q"),), ("another",))).notes == ("one image is missing", "another")


def test_pairs_are_some_and_unlike() -> None:
    with pytest.raises(
        PairError, match="there are no pairs; give at least one harmful and one harmless pair"
    ):
        Pairs(())
    with pytest.raises(PairError, match="pair_id 'p' stands for two requests; make pair_id unique"):
        Pairs((pair("p"), pair("p")))
    with pytest.raises(PairError, match="stands for two requests"):
        _ = balanced() + balanced()


@pytest.mark.parametrize("split", ["calibration", "test"])
@pytest.mark.parametrize("label", ["harmful", "harmless"])
def test_each_split_needs_both_labels(split: str, label: str) -> None:
    assert balanced().require_both_labels() == balanced()
    rest = Pairs(tuple(each for each in balanced() if (each.split, each.label) != (split, label)))
    with pytest.raises(PairError, match=f"no {label} pair in the {split} split; .*add {label} pairs"):
        rest.require_both_labels()


def test_each_split_needs_both_labels_as_text() -> None:
    silent = [
        pair(each.pair_id, each.label, each.split, {"caption": Prompt("words")})
        if (each.label, each.split) == ("harmless", "test")
        else each
        for each in balanced()
    ]
    with pytest.raises(
        PairError, match=r"no harmless pair in the test split has a text arm; .*add a row with arm"
    ):
        Pairs(tuple(silent)).require_both_labels()


def test_choosing_pairs() -> None:
    pairs = balanced()
    assert len(pairs.test) == len(pairs.calibration) == 6
    assert {each.label for each in pairs.test.where(label="harmful")} == {"harmful"}
    assert [each.pair_id[-1] for each in pairs.first(2)] == ["0", "1"] * 4
    with pytest.raises(
        PairError, match="no pair has label=harmful, arm=picture; the pairs given have arms text"
    ):
        pairs.where(label="harmful", arm="picture")


def test_arms_are_listed_text_first_and_variants_after_their_kind() -> None:
    arms = ("noise", "typographic-large", "caption", "typographic", "text")
    image = Prompt("<image>", (Picture(encoded(RED)),))
    prompts = {arm: Prompt("words") if arm in module.TEXT_ARMS else image for arm in arms}
    assert Pairs((pair("p", prompts=prompts),)).arms == (
        "text",
        "typographic",
        "typographic-large",
        "caption",
        "noise",
    )


def test_a_known_arm_may_have_a_variant() -> None:
    assert check_arm("typographic-very_large-2") == "typographic-very_large-2"
    for arm in ("audio", "", "typographic-a b", "typographic-../x", "Text"):
        with pytest.raises(PairError, match="is not known; write one of text, typographic,"):
            check_arm(arm)


def test_arms_that_show_or_speak_the_request() -> None:
    shown = {"typographic", "picture", "picture_typographic", "typographic-large", "speech", "speech_noise"}
    assert {arm for arm in (*module.ARMS, "typographic-large", "text-large") if is_media_arm(arm)} == shown


def test_the_split_of_a_request_depends_on_its_words_alone() -> None:
    assert split_of("Brew the  kettle!") == split_of("brew THE kettle")
    shares = np.mean([split_of(f"request {number}") == "calibration" for number in range(2000)])
    assert 0.36 < shares < 0.44


def orientated(kind: str, orientation: int) -> bytes:
    """A picture 4 wide and 2 high as it is stored; its top left quarter is red."""
    image = Image.new("RGB", (64, 32), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    return encoded(image, kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_stands_upright_and_its_size_too(kind: str, orientation: int, tmp_path: Path) -> None:
    data = orientated(kind, orientation)
    (tmp_path / "it").write_bytes(data)
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    for picture in (Picture(data), Picture.read(tmp_path / "it")):
        assert picture.size == picture.open().size == expected.size
        assert picture.size == ((32, 64) if orientation >= 5 else (64, 32))
        assert picture.open().tobytes() == expected.tobytes()


def test_contentless_pictures_are_as_large_as_the_upright_one() -> None:
    image = Prompt("<image>", (Picture(orientated("JPEG", 6)),))
    arms = with_arms(Pairs((pair("p", prompts={"text": Prompt("a"), "picture": image}),)), ["blank", "noise"])
    sizes = {arm: prompt.picture.size for arm, prompt in arms.pairs[0].prompts.items() if prompt.picture}
    assert sizes == {"picture": (32, 64), "blank": (32, 64), "noise": (32, 64)}


def test_metadata_that_is_damaged_turns_nothing() -> None:
    data = encoded(RED, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\xff\xff")
    Picture(data).check("it")
    assert Picture(data).size == Picture(data).open().size == (8, 6)


@pytest.mark.parametrize("most", [255, 1000, 65535])
def test_grey_pictures_of_16_bits_are_scaled_by_their_range(most: int) -> None:
    shades = np.linspace(0, most, 16).astype(">u2" if most > 255 else np.uint8).reshape(4, 4)
    picture = Picture(f"P5 4 4 {most}\n".encode() + shades.tobytes())
    picture.check("it")
    seen = np.asarray(picture.open())[..., 0].astype(float)
    assert np.abs(seen - shades.astype(float) * 255 / most).max() <= 1.5


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_without_an_agreed_range_are_refused(dtype: type) -> None:
    picture = Picture(encoded(Image.fromarray(np.full((4, 4), 3, dtype)), "TIFF"))
    with pytest.raises(
        PairError, match=r"image it: its pixels are 32-bit numbers, .*; save it with 8 or 16 bits"
    ):
        picture.check("it")


def test_a_picture_that_is_a_program_is_not_run() -> None:
    with pytest.raises(PairError, match="image it: EPS pictures are programs, and are not run"):
        Picture(encoded(RED, "EPS")).check("it")


def test_a_picture_whose_file_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(encoded(RED))
    picture = Picture.read(tmp_path / "red.png")
    (tmp_path / "red.png").unlink()
    with pytest.raises(PairError, match=r"image .*red.png: No such file or directory; check the path"):
        picture.open()


def test_an_arm_of_pictures_has_a_picture_and_an_arm_of_text_has_none() -> None:
    image = Prompt("<image>", (Picture(encoded(RED)),))
    with pytest.raises(PairError, match="pair 'p': arm blank has no picture, but is asked with one"):
        pair("p", prompts={"text": Prompt("a"), "blank": Prompt("a")})
    with pytest.raises(PairError, match="pair 'p': arm caption has a picture, but is asked in words"):
        pair("p", prompts={"caption": image})


@pytest.mark.usefixtures("unchecked")
def test_words_are_text() -> None:
    wrong: Any = ["a"]
    with pytest.raises(PairError, match=r"text is .*, of type list; write it as text"):
        Prompt(wrong)
    with pytest.raises(PairError, match="system is '5', of type int; write it as text"):
        Prompt("a", system=5)  # type: ignore[arg-type]
    with pytest.raises(PairError, match="pair 'p': request is empty; give it in words"):
        Pair("p", "harmful", "kind", " ", "test", {"text": Prompt("a")})
