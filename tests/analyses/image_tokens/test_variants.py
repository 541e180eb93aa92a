"""Each variant removes what its name says; parts of the drift add up to it; what a run cannot make is said."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from regap.analyses.image_tokens.choice import (
    ImageTokenChoice,
    choose_at_image_tokens,
    states_of_roles,
)
from regap.analyses.image_tokens.conditions import conditions_of
from regap.analyses.image_tokens.measure import image_tokens_records
from regap.analyses.image_tokens.variants import (
    Variant,
    check_another,
    of_another_model,
    variants_of,
)
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import Measured, measure_model
from regap.errors import ConfigError
from regap.geometry.drift import modality_drift
from regap.geometry.models.loading import Model, load
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.organism.prompts import HeldOut, held_out_pairs

BLOCK = 2


@pytest.fixture(scope="module")
def seen() -> Measured:
    pairs = held_out_pairs(HeldOut(6, 4, 4, arms=("text", "typographic", "picture")))
    config = RunConfig.model_validate({"model": "organism", "max_new_tokens": 8})
    return measure_model(load("organism"), pairs, config)


@pytest.fixture(scope="module")
def chosen(seen: Measured) -> ImageTokenChoice:
    return choose_at_image_tokens(seen, fixed_correction(seen.drift, Site((10,))), [BLOCK])


@pytest.fixture(scope="module")
def variants(seen: Measured, chosen: ImageTokenChoice) -> Mapping[str, Variant]:
    return {one.name: one for one in variants_of(seen, chosen)}


def vectors(variants: Mapping[str, Variant], name: str) -> torch.Tensor:
    edit: Any = variants[name].edit
    return edit.vectors.double()


def test_each_acts_at_the_image_tokens_of_the_chosen_block(variants: Mapping[str, Variant]) -> None:
    made = [one.edit for one in variants.values() if one.edit]
    assert len(made) == 10
    assert {edit.site for edit in made} == {Site((BLOCK,), "image")} and {edit.strength for edit in made} == {
        1.0
    }
    assert len({edit.identity for edit in made}) == len(made)


def test_the_drift_of_another_model_is_removed_as_it_is_there(
    seen: Measured, chosen: ImageTokenChoice
) -> None:
    other = measure_model(load("organism:none"), seen.pairs, seen.config)
    found: Any = of_another_model(seen, chosen, other)
    assert found.name == "drift of organism:none" and found.edit.site == Site((BLOCK,), "image")
    assert torch.equal(found.edit.vectors[0].double(), modality_drift(*states_of_roles(other)).at(BLOCK))
    assert not torch.equal(found.edit.vectors[0].double(), chosen.drift.at(BLOCK))


def test_a_model_that_cannot_lend_its_drift_is_refused(seen: Measured, tiny: Model) -> None:
    with pytest.raises(ConfigError, match="another is a run of the same model, organism"):
        check_another(seen, load("organism"))
    with pytest.raises(ConfigError, match="name a run of a model of the same shape"):
        check_another(seen, tiny)


def test_the_drifts_of_both_labels_add_up_to_the_drift_and_differ(
    variants: Mapping[str, Variant], chosen: ImageTokenChoice
) -> None:
    harmful, harmless = (vectors(variants, f"{label} pairs")[0] for label in ("harmful", "harmless"))
    drift = chosen.drift.at(BLOCK)
    assert torch.allclose((harmful + harmless) / 2, drift)
    assert float((harmful - harmless).norm()) > 0.05 * float(drift.norm())


def test_the_drifts_of_all_places_add_up_to_the_drift_and_differ(
    variants: Mapping[str, Variant], chosen: ImageTokenChoice
) -> None:
    """Every picture has as many tokens, so the mean over places is the mean over tokens."""
    by_place = vectors(variants, "k-th with all")[0]
    drift = chosen.drift.at(BLOCK)
    assert torch.allclose(by_place[:-1].mean(0), drift, atol=1e-4)
    assert torch.allclose(by_place[-1], drift, atol=1e-4)
    assert float((by_place[0] - drift).norm()) > 0.05 * float(drift.norm())
    paired = vectors(variants, "k-th with k-th")[0]
    assert not torch.allclose(paired[0], by_place[0], atol=1e-2)
    assert torch.allclose(paired[-2], by_place[-2])  # no request has that many tokens


def test_another_block_has_a_drift_as_long_and_another_direction(
    variants: Mapping[str, Variant], chosen: ImageTokenChoice
) -> None:
    drift, other = chosen.drift.at(BLOCK), vectors(variants, "block 6")[0]
    assert torch.allclose(other.norm(), drift.norm())
    assert float(torch.nn.functional.cosine_similarity(drift, other, dim=0)) < 0.99


def test_what_a_run_cannot_make_says_why(variants: Mapping[str, Variant]) -> None:
    assert {one.name: one.reason for one in variants.values() if one.reason} == {
        "captions": "the run has no arm caption"
    }
    with pytest.raises(ValueError, match="give either an edit, or the reason why it is left out"):
        Variant("none", "nothing")


def test_variants_are_conditions_of_their_own_and_change_no_other_row(
    seen: Measured, chosen: ImageTokenChoice, variants: Mapping[str, Variant]
) -> None:
    some = [variants[name] for name in ("Gaussian map", "k-th with k-th", "captions")]
    plain, more = ([one.name for one in conditions_of(seen, chosen, 1, each)] for each in ((), some))
    names = [
        f"image tokens, {alpha:g} {name}" for name in ("Gaussian map", "k-th with k-th") for alpha in (0.5, 1)
    ]
    assert [name for name in more if name not in names] == plain and set(more) == {*plain, *names}
    table, _, told = (one.table for one in image_tokens_records(seen, chosen, None, 1, some))
    own = table[table["condition"].isin(names)]
    assert set(own["condition"]) == set(names) and set(own["alpha"]) == {0.5, 1.0}
    assert {"attack_success", "utility", "auroc_z", "auroc_rho"} <= set(own["measure"])
    reasons = told.set_index("vector")["reason"]
    assert reasons["captions"] == "the run has no arm caption" and reasons["Gaussian map"] == ""
