"""An address says what is shown: it is read back as it was written, and nonsense in it does no harm."""

import hostile
import pytest

from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query, resolved


def read(address: str) -> Query:
    path, _, search = address.partition("?")
    return Query.of(path, f"?{search}")


@pytest.mark.parametrize("item", ["p0", *hostile.TEXTS])
def test_an_address_is_read_back_as_it_was_written(item: str) -> None:
    query = Query(
        "doses",
        layer=3,
        arm=("text", "a b"),
        only=("flipped",),
        item=item,
        item_arm="text",
        strength=-0.5,
        density=(),
        zoom=(0.0, 1.0, -2.5, 3e4),
        side=1,
    )
    assert read(query.address()) == query
    assert read(query.but(layer=4).address()) != query


def test_defaults_make_the_shortest_address() -> None:
    assert Query().address() == "/plane" and read("") == Query() and read("/") == Query()


@pytest.mark.parametrize(
    "search",
    [
        "layer=x",
        "layer=",
        "strength=nan",
        "strength=1e9",
        "zoom=1&zoom=2",
        "zoom=a&zoom=b&zoom=c&zoom=d",
        "unknown=1",
        "%%%&&=",
    ],
)
def test_nonsense_is_left_at_its_default(search: str) -> None:
    assert read(f"/plane?{search}") == Query()


def test_a_run_fills_in_what_it_quotes_itself(explored: ExploredRun) -> None:
    query = resolved(Query(), explored)
    assert (query.layer, query.at, query.arm, query.item_arm) == (
        1,
        1,
        ("text", "typographic"),
        "typographic",
    )
    asked = Query(layer=0, at=2, arm=("text",), item_arm="text", heat="sweep")
    assert resolved(asked, explored) == asked


def test_an_empty_run_fills_in_what_can_be_known(empty_folder) -> None:
    assert resolved(Query(), ExploredRun(empty_folder)).layer == 0
