"""What may be ablated is said in one line where it may not."""

from typing import Any

import pytest

from regap.analyses.ablation.cells import AblationRequest, Place, carrier_of, patched_at, shown_layers
from regap.analyses.runs.written_settings import read_layers
from regap.errors import ConfigError, ModelError
from regap.geometry.models.loading import Model


@pytest.mark.parametrize(("text", "layers"), [("3", (3,)), ("3-5,8", (3, 4, 5, 8)), (" 7 , 2", (7, 2))])
def test_layers_are_written_as_numbers_and_ranges(text: str, layers: tuple[int, ...]) -> None:
    assert read_layers(text) == layers
    assert read_layers(shown_layers(layers)) == tuple(sorted(layers))


@pytest.mark.parametrize("text", ["", "a", "3-", "5-3", "1,,2", "-1", "1,0-2"])
def test_other_layers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="layers are"):
        read_layers(text)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"components": ("neuron",)}, "component is 'neuron'; choose from attention, mlp, block, head"),
        ({"components": ()}, "component is empty; give at least one"),
        ({"components": ("mlp", "mlp")}, "component is mlp, mlp; give at least one, and each only once"),
        ({"replacements": ("noise",)}, "replace is 'noise'; choose from zero, mean"),
        ({"positions": ("first",)}, "position 'first' is not known; choose one of last"),
        ({"heads": (1,)}, "heads need component head"),
        ({"replacements": ("unread",)}, "add --component head and no other, and leave --positions out"),
        (
            {"components": ("head",), "replacements": ("unread",), "positions": ("image",)},
            "unread is what a head at the last token no longer reads",
        ),
        ({"positions": ("image[0]",)}, r"positions image\[0\] cannot be patched between text and image"),
        (
            {"positions": ("last", "image:ink")},
            "positions image:ink cannot be patched between text and image",
        ),
    ],
)
def test_what_cannot_be_ablated_is_said_before_a_model_is_loaded(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AblationRequest(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layers": (1, 9)}, r"layer 9 is not in model .*; its blocks are 0 to 3"),
        (
            {"components": ("head",), "heads": (0, 2)},
            "head 2 is not in model .*; the heads of a block are 0 to 1",
        ),
    ],
)
def test_layers_and_heads_that_are_not_there_are_said_before_a_model_runs(
    given: dict[str, Any], says: str, tiny: Model
) -> None:
    with pytest.raises(ModelError, match=says):
        AblationRequest(**given).check(tiny)
    AblationRequest().check(tiny)


def test_tokens_without_a_like_in_words_are_patched_from_those_that_carry_the_request_and_back() -> None:
    assert patched_at("typographic", "text", "image") == Place("image", "image", "request")
    assert patched_at("text", "typographic", "image") == Place("request from image", "request", "image")
    assert patched_at("text", "speech", "audio") == Place("request from audio", "request", "audio")
    assert patched_at("picture", "typographic", "image") == Place("image", "image")
    assert patched_at("text", "typographic", "request") == Place("request", "request")
    assert patched_at("text", "typographic", "audio") is None
    assert [carrier_of(arm) for arm in ("text", "caption", "picture", "speech_noise")] == [
        *["request"] * 2,
        "image",
        "audio",
    ]
