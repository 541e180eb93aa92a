"""A live model answers as the run did, moves what it says it moves, and refuses what it cannot do."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regap.analyses.live.model import LiveModel, generated, kept_by_run
from regap.analyses.live.question import LiveQuestion
from regap.analyses.runs.config import read_config
from regap.analyses.runs.every_analysis import capture_only
from regap.analyses.runs.records import Record
from regap.errors import ConfigError, PackError
from regap.geometry.data.pairs import Picture
from regap.geometry.forward.prefix import run
from regap.geometry.prompts.batch import collate
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site

LAYER = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organism on a few pairs: residual streams and directions, no answers."""
    out = tmp_path_factory.mktemp("live") / "run"
    config = read_config(
        None, out=str(out), limit=5, arms=("text", "typographic"), max_new_tokens=24, resamples=100
    )
    return capture_only(config).folder


@pytest.fixture(scope="module")
def live(folder: Path) -> LiveModel:
    return LiveModel.of_run(folder)


@pytest.fixture(scope="module")
def question(folder: Path) -> LiveQuestion:
    """A harmful test prompt shown as an image, the drift taken away at one layer."""
    rows = Record.load(folder, "coordinates").where(split="test", label="harmful", arm="typographic")
    return LiveQuestion(rows["pair_id"].iloc[0], "typographic", layer=LAYER)


def test_the_way_without_intervention_is_that_of_the_run(
    live: LiveModel, folder: Path, question: LiveQuestion
) -> None:
    rows = Record.load(folder, "coordinates").where(pair_id=question.pair_id, arm="typographic")
    rows = rows.sort_values("layer")
    before = live.ask(question).before
    np.testing.assert_allclose(before.refusal, rows["refusal"], atol=1e-3)
    np.testing.assert_allclose(before.drift, rows["drift"], atol=1e-4)


def test_a_fixed_strength_moves_the_drift_by_itself_at_its_layer_and_nothing_before(
    live: LiveModel, question: LiveQuestion
) -> None:
    answer = live.ask(replace(question, strength=0.5))
    moved = np.array(answer.before.drift) - np.array(answer.after.drift)
    assert moved[LAYER] == pytest.approx(0.5, abs=1e-5) and not moved[:LAYER].any() and moved[-1] != 0
    across = live.ask(replace(question, part="D_across"))
    assert across.after.refusal[LAYER] == pytest.approx(across.before.refusal[LAYER], abs=1e-4)


def test_no_intervention_changes_nothing(live: LiveModel, question: LiveQuestion) -> None:
    answer = live.ask(replace(question, method="none"))
    assert answer.before == answer.after and answer.strength == 0.0


def test_regap_applies_its_strength_where_its_gate_opens(live: LiveModel, question: LiveQuestion) -> None:
    found = [
        live.ask(replace(question, pair_id=name, method="regap", layer=8, gate="line", strength=1.5))
        for name in [*live.pairs][-4:]
    ]
    assert all(0 <= answer.strength <= 1.5 and answer.signal == "rho" for answer in found)
    for answer in found:
        moved = answer.before.drift[8] - answer.after.drift[8]
        assert moved == pytest.approx(answer.strength, abs=1e-5)


@pytest.fixture(scope="module")
def odd(live: LiveModel) -> ReGap:
    """A recipe that nothing but the correction itself tells of: fitted, in a single pass, corrected elsewhere."""
    probe = fixed_correction(live.drift, Site((6,)), 0.25)
    across = fixed_correction(live.drift.across(live.refusal), Site((LAYER,)), 1.0)
    weights = torch.tensor([[0.0, 0.0], [0.5, -2.0]], dtype=torch.float64)
    gate = Gate("sigmoid", -1e9)
    return ReGap(probe, live.refusal, (7, 9), gate, 1.5, "fitted_after", weights, across, "single")


@pytest.fixture(scope="module")
def kept(live: LiveModel, folder: Path, odd: ReGap, tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    """The live model of a run that keeps the odd recipe."""
    out = tmp_path_factory.mktemp("kept")
    odd.save(out / "edits" / "regap", live.model.fingerprint)
    own = kept_by_run(out, live.model)
    return replace(live, own=own, kept={}, gates={})


def test_regap_at_the_run_s_settings_is_the_correction_that_the_run_keeps(
    kept: LiveModel, odd: ReGap, question: LiveQuestion
) -> None:
    own = replace(question, method="regap", part="D_across", gate="sigmoid", strength=1.5)
    answer = kept.ask(own)
    assert (answer.gate_told, answer.signal, answer.strength) == ("as the run keeps it", "fitted_after", 1.5)
    pair = kept.pairs[question.pair_id]
    batch = collate(kept.model, [pair.prompts["typographic"]], [0])
    states = run(kept.model, batch, kept.refusal.layers, [odd]).states[0].double()
    np.testing.assert_allclose(
        answer.after.refusal, (states * kept.refusal.vectors).sum(-1).numpy(), atol=1e-3
    )
    moved = np.array(answer.after.drift) - np.array(answer.before.drift)
    assert not moved[:6].any() and moved[6] == pytest.approx(-0.25, abs=1e-4)  # the probe stays
    assert answer.after.text == generated(kept, pair, "typographic", [odd]).text
    weaker = kept.ask(replace(own, strength=0.5))
    assert weaker.strength == 0.5 and weaker.gate_told.endswith("at strength 0.5 in place of 1.5")


@pytest.mark.parametrize("changed", [{"layer": 8}, {"part": "D"}, {"gate": "hard"}, {"positions": "all"}])
def test_regap_at_other_settings_is_calibrated_now_and_says_so(
    kept: LiveModel, question: LiveQuestion, changed: dict
) -> None:
    own = replace(question, method="regap", part="D_across", gate="sigmoid", strength=1.5)
    told = kept.ask(replace(own, **changed)).gate_told
    assert told.startswith("a gate on rho calibrated now on") and "harmless prompts" in told


def test_a_damaged_or_foreign_correction_is_told(live: LiveModel, tmp_path: Path) -> None:
    own = tmp_path / "edits" / "regap"
    own.mkdir(parents=True)
    (own / "edit.json").write_bytes(b"nothing")
    (own / "edit.safetensors").write_bytes(b"nothing")
    with pytest.raises(PackError, match="invalid JSON"):
        kept_by_run(tmp_path, live.model)


def test_the_patches_of_a_picture_make_a_grid_over_it(live: LiveModel, question: LiveQuestion) -> None:
    seen = live.ask(question).picture
    assert seen and seen.rows * seen.columns == len(live.ask(question).image_tokens)
    assert Picture(seen.png).open().size == (seen.width, seen.height) and not seen.problem
    assert live.ask(replace(question, arm="text")).picture is None


def test_tokens_of_the_image_are_told_apart_and_the_last_token_is_the_one_that_is_read(
    live: LiveModel, question: LiveQuestion
) -> None:
    answer = live.ask(question)
    assert len(answer.tokens) == len(answer.token_refusal) == len(answer.token_drift)
    assert answer.token_refusal[-1] == pytest.approx(answer.before.refusal[LAYER], abs=1e-3)
    assert 0 < len(answer.image_tokens) < len(answer.tokens)
    assert not live.ask(replace(question, arm="text")).image_tokens


def test_an_answer_takes_less_than_two_seconds(live: LiveModel, question: LiveQuestion) -> None:
    """In processor time of this process, so that other work on the machine does not count."""
    live.ask(question)  # warm
    start = time.process_time()
    live.ask(replace(question, positions="image", strength=0.7))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "positions", ["user", "template", "image[3]", "request[-1]", "image:norm", "image:ink"]
)
def test_every_position_can_be_edited_live(live: LiveModel, question: LiveQuestion, positions: str) -> None:
    answer = live.ask(replace(question, positions=positions, layer=2, strength=2.0))
    assert answer.strength == 2.0 and answer.after.refusal != answer.before.refusal


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"layer": 99}, "layer is 99"),
        ({"pair_id": "nobody"}, "which is not in the run"),
        ({"arm": "nowhere"}, "which is not in the run"),
        ({"method": "regap", "layer": 11}, "choose an earlier one"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    live: LiveModel, question: LiveQuestion, changed: dict, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        live.ask(replace(question, **changed))


def test_another_model_s_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belongs to another model than the present organism:none"):
        LiveModel.of_run(folder, "organism:none")
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match=r"has no provenance\.json; name a folder"):
        LiveModel.of_run(tmp_path)
    assert json.loads((folder / "provenance.json").read_text())["fingerprint"]
