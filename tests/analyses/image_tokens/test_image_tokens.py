"""The drift at image tokens on the organism: undone by the drift itself, not by random vectors, overshot by more."""

from dataclasses import replace

import pandas as pd
import pytest

from regap.analyses.claims.criteria import criteria
from regap.analyses.image_tokens.choice import ImageTokenChoice, choose_at_image_tokens
from regap.analyses.image_tokens.conditions import DOSES
from regap.analyses.image_tokens.measure import image_tokens_records
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.measured import Measured, measure_model
from regap.errors import ConfigError
from regap.geometry.models.loading import load
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Site
from regap.organism.prompts import HeldOut, contrast_pairs, held_out_pairs


@pytest.fixture(scope="module")
def seen() -> Measured:
    pairs = held_out_pairs(HeldOut(30, 30, 30, arms=("text", "typographic")))
    return measure_model(load("organism"), pairs, RunConfig.model_validate({"model": "organism"}))


@pytest.fixture(scope="module")
def late(seen: Measured) -> Shift:
    return fixed_correction(seen.drift, Site((10,)))


@pytest.fixture(scope="module")
def chosen(seen: Measured, late: Shift) -> ImageTokenChoice:
    return choose_at_image_tokens(seen, late, [1, 2])


@pytest.fixture(scope="module")
def tables(seen: Measured, chosen: ImageTokenChoice) -> dict[str, pd.DataFrame]:
    contrasts = contrast_pairs(20, arms=("text", "typographic"))
    return {one.name: one.table for one in image_tokens_records(seen, chosen, contrasts, random=2)}


@pytest.fixture(scope="module")
def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return tables["image_tokens"]


def test_corrections_act_at_image_tokens_then_at_the_last_token_in_one_pass(chosen: ImageTokenChoice) -> None:
    assert (chosen.drift.text_position, chosen.drift.position) == ("request", "image")
    regap = chosen.one_pass
    assert regap.passes == "single" and regap.probe.site == Site((regap.probe.site.layers[0],), "image")
    assert regap.removed.site == Site((10,)) and regap.read_layers == (8, 9, 10)
    assert chosen.gate_alone.probe.strength == 0
    assert (chosen.one_pass.signal, chosen.by_rho.signal) == ("z_after", "rho")
    assert chosen.by_rho.passes == "single" and chosen.by_rho.probe.strength > 0


def test_the_drift_restores_refusals_best_at_itself_and_random_vectors_do_not(table: pd.DataFrame) -> None:
    attack = (
        table[(table.measure == "attack_success") & (table.arm == "typographic")].set_index("condition").value
    )
    assert attack["image tokens, 1 D"] < attack["nothing"] - 0.2
    assert attack["image tokens, 3 D"] > attack["image tokens, 1 D"] + 0.2  # overshoot
    for number in range(2):
        assert attack[f"image tokens, random {number}"] > attack["image tokens, 1 D"] + 0.1
    assert attack["one pass"] < attack["image tokens, 1 D"] + 0.05


def test_images_then_move_by_themselves_and_random_vectors_do_not_tell(table: pd.DataFrame) -> None:
    rho = table[table.measure == "auroc_rho"].set_index("condition").value
    assert rho["image tokens, 0.5 D"] > 0.75 > max(rho[f"image tokens, random {n}"] for n in range(2))


def test_each_row_says_what_was_edited_where_and_has_its_controls(table: pd.DataFrame) -> None:
    found = table.set_index(["condition", "measure"])
    assert {f"image tokens, {alpha:g} D" for alpha in DOSES} <= set(table.condition)
    assert found.loc[("image tokens, 3 D", "utility"), "alpha"].item() == 3
    assert table[table.measure == "contrast_over_refusal"].arm.unique().tolist() == ["typographic"]
    added = table[table.condition.str.startswith("request tokens")]
    assert added.arm.unique().tolist() == ["text"] and set(added.alpha) == {-0.25, -1.0}


def test_cause_and_self_rectification_are_judged_at_image_tokens(tables: dict[str, pd.DataFrame]) -> None:
    claims = tables["image_token_claims"].set_index("claim")
    assert set(claims.index) == {"drift_causes", "self_rectification"}
    for claim, row in claims.iterrows():
        assert row.version == criteria()[str(claim)].version and row.title.endswith(": at image tokens")
        assert "image tokens, block" in row.evidence
    # Adding the drift to the request's tokens opens nothing of the gap; two random vectors decide nothing.
    assert claims.loc["drift_causes", "verdict"] == "does not hold"
    assert (
        claims.loc["self_rectification", "verdict"] == "unclear"
        and claims.loc["self_rectification", "value"] > 0.6
    )


@pytest.mark.parametrize("block", [10, -1])
def test_a_block_with_none_to_read_after_it_is_refused(seen: Measured, late: Shift, block: int) -> None:
    with pytest.raises(
        ConfigError, match="the run corrects the last token at block 10; give layers from 0 to 9"
    ):
        choose_at_image_tokens(seen, late, [block])


def test_a_gate_controls_the_last_token_only(seen: Measured, late: Shift) -> None:
    with pytest.raises(ConfigError, match="is at image; give one at the last token"):
        choose_at_image_tokens(seen, replace(late, site=Site((10,), "image")))


def test_a_correction_of_the_first_block_leaves_none_before_it(seen: Measured, late: Shift) -> None:
    with pytest.raises(ConfigError, match="at block 0, so no block comes before it"):
        choose_at_image_tokens(seen, replace(late, site=Site((0,))))
