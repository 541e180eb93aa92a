"""Where self-rectification is real the adaptive rule wins; where labels are noise no rule is thought to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from regap.analyses.calibration.choice import (
    Choice,
    Evidence,
    Removals,
    best_fixed,
    candidates,
    choose,
    further_removals,
    read_all,
    recipes_record,
)
from regap.interventions.edits.recipe import Recipe, Removal

LAYERS, STRENGTHS = 5, (0.5, 1.0)
FIXED = Removal(2, 1.0)


def planted(count: int = 120, *, moved: float = 3.0, seed: int = 0, shuffled: bool = False) -> Evidence:
    """Prompts whose z says little, and whose later z rises with a probe at block 1 where they are harmful.

    The whole drift removed at block 2 refuses every prompt, half of it about half of either label.
    """
    generator = torch.Generator().manual_seed(seed)
    harmful = torch.arange(2 * count) < count
    z = torch.randn(2 * count, LAYERS, generator=generator).double() + 0.2 * harmful[:, None]
    noise = 0.3 * torch.randn(2 * count, LAYERS, generator=generator).double()
    after = z + noise
    after[:, 2:] += moved * harmful[:, None]
    half = torch.rand(2 * count, generator=generator) < 0.5
    coordinates: dict[Removals, Any] = {(): z}
    refused: dict[Removals, Any] = {(): torch.zeros(2 * count, dtype=torch.bool)}
    each = [(Removal(layer, strength),) for layer in range(LAYERS - 1) for strength in STRENGTHS]
    for listed in [*each, *further_removals(FIXED, STRENGTHS)]:
        rectified = listed[0].layer == 1 and listed[0].strength == 1.0
        coordinates[listed] = after if rectified else z + noise.roll(1, 0)
        opens = listed[-1].layer == 2
        refused[listed] = refused[()] if not opens else half if listed[-1].strength < 1 else ~refused[()]
    labels = harmful[torch.randperm(2 * count, generator=generator)] if shuffled else harmful
    return Evidence(labels, tuple(str(i) for i in range(2 * count)), coordinates, refused)


def chosen(
    evidence: Evidence, budget: float = 0.05, allowed: Callable[[Recipe], bool] | None = None
) -> Choice:
    recipes = [one for one in candidates(LAYERS, FIXED, STRENGTHS) if not allowed or allowed(one)]
    return choose(read_all(evidence, recipes), recipes, budget)


def held_out(choice: Choice, evidence: Evidence) -> tuple[float, float]:
    """Shares of new harmful and harmless prompts refused under what was chosen."""
    trial = choice.winner
    recipe = trial.recipe
    signal = evidence.traces(recipe.probe, recipe.read_layers).weighted(trial.weights)
    stays = (recipe.probe,) if recipe.passes == "single" else ()
    refused = torch.where(
        signal > trial.gate.threshold,
        evidence.refusals(*stays, recipe.correction),
        evidence.refusals(*stays),
    ).double()
    return float(refused[evidence.harmful].mean()), float(refused[~evidence.harmful].mean())


def test_real_self_rectification_is_found_and_beats_every_fixed_strength() -> None:
    evidence, new = planted(), planted(400, seed=1)
    choice = chosen(evidence)
    recipe = choice.winner.recipe
    assert recipe.probe == Removal(1, 1.0) and recipe.signal in ("rho", "z_after")
    on_harmful, on_harmless = held_out(choice, new)
    assert on_harmful > 0.9 and on_harmless < 0.12
    fixed = best_fixed(evidence, 0.05)
    assert float(evidence.refusals(fixed)[evidence.harmful].double().mean()) == 0.0
    rho = chosen(evidence, allowed=lambda one: one.signal == "rho")
    plain = chosen(evidence, allowed=lambda one: one.signal == "z_before")
    assert held_out(rho, new)[0] > 0.9 and held_out(plain, new)[0] < 0.4


@pytest.mark.parametrize("seed", [2, 3])
def test_no_rule_wins_where_labels_are_noise(seed: int) -> None:
    choice = chosen(planted(seed=seed, shuffled=True))
    new = planted(400, seed=seed + 10)
    new = replace(
        new, harmful=new.harmful[torch.randperm(800, generator=torch.Generator().manual_seed(seed))]
    )
    on_harmful, on_harmless = held_out(choice, new)
    assert abs(on_harmful - on_harmless) < 0.08
    assert choice.winner.on_harmful < 0.25  # nor does calibration claim one


@pytest.mark.parametrize("budget", [0.0, 0.01, 0.05, 0.2])
def test_every_recipe_keeps_to_the_budget(budget: float) -> None:
    choice = chosen(planted(), budget)
    assert all(trial.on_harmless <= budget + 1e-9 for trial in choice.trials)


def test_the_simplest_of_equals_is_chosen() -> None:
    choice = chosen(planted(moved=50.0))  # every signal that sees the probe divides the labels
    best = max(trial.on_harmful for trial in choice.trials)
    equals = [trial.recipe.effort for trial in choice.trials if trial.on_harmful == best]
    assert len(equals) > 10 and choice.winner.recipe.effort == min(equals)
    assert choice.winner.recipe.fitted == 0 and "simplest" in choice.why


def test_all_that_were_tried_are_written_down() -> None:
    choice = chosen(planted())
    table = recipes_record([choice], "model", "typographic").table
    assert len(table) == len(choice.trials) > 50
    assert table["chosen"].sum() == 1 and table.loc[table["chosen"], "why"].item() == choice.why
    assert (table.loc[~table["chosen"], "why"] == "").all()


def test_what_cannot_be_chosen_is_said() -> None:
    evidence = planted()
    readings = read_all(evidence, recipes := candidates(LAYERS, FIXED, STRENGTHS))
    with pytest.raises(ValueError, match=r"budget is 1\.0; give a share"):
        choose(readings, recipes, 1.0)
    with pytest.raises(ValueError, match="no recipe is left to try"):
        choose(readings, [], 0.05)
