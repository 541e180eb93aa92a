"""An arm has one colour everywhere, and data never becomes markup."""

from regap.figures.drawing.style import (
    ARMS,
    arm_colours,
    arm_label,
    arm_order,
    layer_steps,
    looks,
    paler,
    shown,
)


def test_a_known_arm_keeps_its_colour_whatever_stands_beside_it() -> None:
    alone, among = arm_colours(["picture"]), arm_colours(["picture", "odd", *ARMS])
    assert alone["picture"] == among["picture"] == ARMS["picture"][1]
    assert len(set(arm_colours(ARMS).values())) == len(ARMS)


def test_variants_are_paler_shades_that_differ() -> None:
    colours = arm_colours(["typographic", "typographic-a", "typographic-b"])
    assert len(set(colours.values())) == 3
    assert colours["typographic-a"] == paler(colours["typographic"], 0.22)
    assert paler("#000000", 1.0) == "#FFFFFF"


def test_arms_are_ordered_as_listed_then_variants_then_strangers() -> None:
    arms = ["odd", "noise", "typographic-b", "text", "typographic"]
    assert sorted(arms, key=arm_order) == ["text", "typographic", "typographic-b", "noise", "odd"]


def test_layer_ticks_are_whole_layers() -> None:
    assert [layer_steps(range(9, 12)), layer_steps(range(12)), layer_steps(range(80))] == [1, 1, 7]


def test_names_are_shown_as_text() -> None:
    assert shown("<b>") == "&lt;b&gt;"
    assert arm_label("<i>-<b>") == "&lt;i&gt; (&lt;b&gt;)"
    assert looks(["<b>"], {})["<b>"][0] == "&lt;b&gt;"
