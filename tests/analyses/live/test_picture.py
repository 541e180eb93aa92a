"""The picture is framed as the processor frames it."""

from types import SimpleNamespace

from PIL import Image

from regap.analyses.live.model import framed


def test_a_processor_that_cuts_out_the_middle_is_followed() -> None:
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (100, 0, 300, 200))
    cut = {"height": 112, "width": 112}
    processor = SimpleNamespace(size={"shortest_edge": 112}, crop_size=cut, do_center_crop=True)
    middle = framed(image, processor)
    assert middle.size == (200, 200) and middle.getcolors() == [(40_000, (0, 0, 255))]
    processor.do_center_crop = False
    assert framed(image, processor).size == (400, 200) and framed(image, None).size == (400, 200)
