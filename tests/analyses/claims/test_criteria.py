"""A criterion is fixed with its version: whoever changes its words or numbers changes the version too."""

import pytest

from regap.analyses.claims.criteria import Criterion, criteria, criteria_digest
from regap.geometry.states.store import digest_of

WRITTEN = {
    ("collapse", 2): "fc146e48310bdf0b2e6cca2eee1efbf4",
    ("drift_predicts", 2): "687a92d664a43706855d5fa03bbf067a",
    ("drift_causes", 2): "b0ce02507901b4323827944812c5b1cb",
    ("self_rectification", 2): "7a914e9bd994fd9bbf6f83649aebde2a",
    ("regap", 3): "6fe0db83e3162826edfb9fb33c7f3559",
}


@pytest.mark.parametrize("claim", list(criteria()))
def test_a_changed_criterion_has_another_version(claim: str) -> None:
    found = criteria()[claim]
    assert WRITTEN[claim, found.version] == digest_of(found.stored)


def test_all_effect_sizes_stand_in_the_rule() -> None:
    for one in criteria().values():
        for name, size in one.effects.items():
            told = f"{one.rule} {' '.join(one.controls)}"
            assert f"{size:g}" in told, (one.claim, name)
        assert "{" not in one.rule


def test_the_digest_is_that_of_all_criteria() -> None:
    assert len(criteria_digest()) == 32
    assert criteria_digest() == digest_of([one.stored for one in criteria().values()])


def test_a_criterion_without_controls_or_effects_is_refused() -> None:
    fields = {**criteria()["collapse"].stored, "controls": ("x",)}
    for missing in ({"controls": ()}, {"effects": {}}, {"version": 0}):
        with pytest.raises(ValueError, match="collapse"):
            Criterion(**{**fields, **missing})


def test_effect_sizes_cannot_be_changed_in_passing() -> None:
    with pytest.raises(TypeError):
        criteria()["collapse"].effects["least_share"] = 0.1  # type: ignore[index]
