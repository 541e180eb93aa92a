"""The measures of print: how wide a column is, and how large letters and how thick lines must be to survive it."""

from dataclasses import dataclass, replace

PIXELS_PER_MM = 96 / 25.4
"""Of the style sheet that browsers print by."""
PIXELS_PER_POINT = 96 / 72


@dataclass(frozen=True)
class PrintStyle:
    """Lengths in millimetres, letters and lines in points."""

    name: str
    one_column: float
    """Width of a figure of one column of panels."""
    two_columns: float
    """Width of a figure of several."""
    panel_height: float
    row_height: float
    """Of one name on an axis of names."""
    letters: float
    """Of titles of axes and panels."""
    small_letters: float
    """Of ticks, legends and notes."""
    lines: float
    """Of curves; rules and intervals are thinner."""
    markers: float

    def __post_init__(self) -> None:
        if min(self.one_column, self.two_columns, self.panel_height, self.small_letters, self.lines) <= 0:
            raise ValueError(
                f"style {self.name!r} has a length that is not positive; give millimetres and points"
            )


PRINT_STYLES = {
    "paper": PrintStyle("paper", 85.0, 174.0, 44.0, 4.6, 8.0, 7.0, 1.1, 3.2),
    "slides": PrintStyle("slides", 170.0, 254.0, 84.0, 8.0, 15.0, 13.0, 2.2, 6.5),
}
"""paper: the columns of most journals and conferences; slides: a page of 10 inches, read from afar."""


def print_style(name: str, width: int | float | None = None) -> PrintStyle:
    """The style of this name, its figures as wide as `width` millimetres where it is given.

    Raises ValueError for a name that is not known, and for a width that no page has.
    """
    if name not in PRINT_STYLES:
        raise ValueError(f"style={name!r} is not known; choose one of {', '.join(PRINT_STYLES)}")
    if width is None:
        return PRINT_STYLES[name]
    if not 30 <= width <= 1000:
        raise ValueError(
            f"width={width:g} is not between 30 and 1000; give the width of a figure in millimetres"
        )
    return replace(PRINT_STYLES[name], one_column=float(width), two_columns=float(width))
