"""A position is written in one way, is read back as it was written, and any other text is refused with all forms."""

from typing import get_args

import pytest

from regap.errors import ConfigError
from regap.geometry.prompts.positions import Position, Role, Rule

ROLES = get_args(Role)


@pytest.mark.parametrize(
    "written",
    [
        *ROLES,
        *[f"{role}[{index}]" for role in ROLES if role != "last" for index in (0, 7, -1, -12)],
        *[f"image:{rule}" for rule in get_args(Rule)],
    ],
)
def test_a_position_is_read_as_it_is_written(written: str) -> None:
    assert str(Position.of(written)) == written


def test_its_parts_say_which_tokens() -> None:
    assert Position.of("request") == Position("request")
    assert Position.of("image[-2]") == Position("image", -2)
    assert Position.of("image:ink") == Position("image", None, "ink")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "first",
        "Image",
        "image ",
        "image[",
        "image[]",
        "image[1.0]",
        "image[01]",
        "image[-0]",
        "image[+1]",
    ],
)
def test_a_text_that_is_no_position_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="is not known"):
        Position.of(written)


@pytest.mark.parametrize(
    "written",
    [
        "last[0]",
        "system",
        "earlier[0]",
        "request:norm",
        "audio:norm",
        "image:",
        "image:size",
        "image[0]:norm",
    ],
)
def test_any_other_text_is_refused_with_all_forms(written: str) -> None:
    with pytest.raises(ConfigError, match="is not known; choose one of last, after_instruction") as refused:
        Position.of(written)
    assert all(form in str(refused.value) for form in (*ROLES, "image[0]", "request[-1]", "image:blank"))


@pytest.mark.parametrize(
    ("role", "index", "rule"), [("last", 0, None), ("audio", None, "norm"), ("image", 0, "norm")]
)
def test_parts_that_do_not_fit_are_refused(role: Role, index: int | None, rule: Rule | None) -> None:
    with pytest.raises(ConfigError, match="is not known"):
        Position(role, index, rule)


def test_only_tokens_of_media_may_be_absent_and_only_if_none_is_named() -> None:
    assert [written for written in ROLES if Position.of(written).may_be_absent] == ["image", "audio"]
    assert Position.of("image:norm").may_be_absent and not Position.of("image[0]").may_be_absent
