"""The card: members in columns, and a family that is too large for columns in rows."""

from regap.analyses.organism.card import COLUMNS, Figure, as_markdown, bundled_models
from regap.geometry.estimates import Estimate

SHARE = Estimate(0.5, 0.4, 0.6, 100)


def _table(*members: str) -> str:
    return as_markdown([Figure(member, *column, SHARE) for member in members for column in COLUMNS])


def test_bundled_members_are_columns_and_more_members_are_rows() -> None:
    bundled = _table(*bundled_models())
    assert bundled.startswith("| arm | measure | none | narrow | middle | wide | full |")
    more = [f"middle-t1-s{seed}" for seed in range(6)]
    rows = _table(*more).splitlines()
    assert rows[0].startswith("| member | text refusal |")
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {name}" for name in more]
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 2}
