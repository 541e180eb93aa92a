"""A live model answers as the run did, moves what it says it moves, and refuses what it cannot do."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regap.analyses.capture_only import capture_only
from regap.analyses.config import ConfigError, read_config
from regap.analyses.live import LiveModel
from regap.analyses.live_question import LiveQuestion
from regap.analyses.records import Record

LAYER = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organism on a few pairs: residual streams and directions, no answers."""
    out = tmp_path_factory.mktemp("live") / "run"
    config = read_config(
        None, out=str(out), limit=5, arms=("text", "typographic"), max_new_tokens=24, resamples=100
    )
    return capture_only(config).path


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
    ("changed", "says"),
    [
        ({"layer": 99}, "layer is 99"),
        ({"pair_id": "nobody"}, "which the run did not ask"),
        ({"arm": "nowhere"}, "which the run did not ask"),
        ({"method": "regap", "layer": 11}, "choose an earlier one"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    live: LiveModel, question: LiveQuestion, changed: dict, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        live.ask(replace(question, **changed))


def test_another_model_s_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the model that run folder"):
        LiveModel.of_run(folder, "organism:none")
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match=r"no provenance\.json and no directions"):
        LiveModel.of_run(tmp_path)
    assert json.loads((folder / "provenance.json").read_text())["fingerprint"]
