"""From a run folder to a pack that makes the plain model answer as the run's own correction did."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForImageTextToText

from regap.analyses.runs.config import read_config
from regap.analyses.runs.folder import begin_folder, provenance_of, write_json, write_settings, write_summary
from regap.analyses.runs.questions import save_answer
from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.figures.opened_run import open_run
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import collate
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.recipe import Recipe, Removal
from regap.interventions.edits.regap import ReGap, calibrate_regap, traces_of
from regap.interventions.edits.shift import Shift, fixed_correction, shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate
from regap.interventions.packs.pack import read_pack
from regap.interventions.packs.protection import protected
from regap.organism.family import organism_folder
from regap.organism.prompts import HeldOut, held_out_pairs

WITHIN = "one pass, within budgets"
ARM, BUDGET, CONFIG = "typographic", 12, read_config(model="organism", seed=3)


@pytest.fixture(scope="module")
def organism() -> Model:
    return load("organism")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return held_out_pairs(HeldOut(12, 6, 6, arms=(ARM,)))


@pytest.fixture(scope="module")
def edits(organism: Model, pairs: Pairs) -> dict[str, Shift | ReGap]:
    states = {arm: each.calibration for arm, each in capture(organism, pairs, arms=["text", ARM]).items()}
    drift = modality_drift(states["text"], states[ARM])
    refusal = refusal_direction(states["text"])
    gated = calibrate_regap(
        organism, pairs.calibration, refusal, drift, [10], strongest=1.0, signal="z_before"
    )
    single = Recipe("z_after", Removal(8, 0.5), (9, 10), Removal(10, 1.0), "single")
    calibrated = traces_of(
        organism, pairs.calibration, ARM, single.probe.shift(drift, refusal), refusal, single.read_layers
    )
    middle = Gate("hard", float(calibrated.signal("z_after").median()))
    early = shift(modality_drift(*of_roles(organism, pairs)), [1], 0.5)
    late = fixed_correction(drift, Site((10,)))
    return {
        "early": ReGap(early, refusal, (9, 10), middle, 1.0, "z_after", correction=late, passes="single"),
        "fixed": fixed_correction(drift, Site((10,))),
        "regap": gated,
        "single": single.regap(drift, refusal, middle),
    }


def of_roles(model: Model, pairs: Pairs) -> tuple[Activations, Activations]:
    """States of the request's tokens in words, and of image tokens."""
    asked = pairs.calibration
    text = capture(model, asked, "text", position="request")["text"]
    return text, capture(model, asked, ARM, position="image")[ARM]


@pytest.fixture
def run(organism: Model, pairs: Pairs, edits: dict[str, Shift | ReGap], tmp_path: Path) -> Path:
    """What a finished run that chose a reading before the answer leaves of its corrections and outcomes."""
    return finished(organism, pairs, {name: edits[name] for name in ("fixed", "regap")}, tmp_path / "run")


def finished(organism: Model, pairs: Pairs, edits: dict[str, Shift | ReGap], path: Path) -> Path:
    begin_folder(path, CONFIG.model_copy(update={"out": str(path)}), organism, pairs)
    write_settings(path, CONFIG)
    gated = edits["regap"]
    assert isinstance(gated, ReGap)
    for name, edit in edits.items():
        edit.save(path / "edits" / name, organism.fingerprint)
    rows = [
        {"model": "organism", "condition": condition, "arm": arm, "measure": "refusal", "n": 6}
        | {"value": 0.5, "low": float("nan"), "high": float("nan")}
        for condition, arm in [("baseline", "text"), ("baseline", ARM), ("fixed", ARM), ("regap", ARM)]
    ]
    Record("outcomes", pd.DataFrame(rows)).save(path)
    write_summary(path, {"image_arm": ARM})
    return path


@pytest.fixture
def single_run(organism: Model, pairs: Pairs, edits: dict[str, Shift | ReGap], tmp_path: Path) -> Path:
    """What a finished run that chose a single pass leaves."""
    return finished(organism, pairs, {"fixed": edits["fixed"], "regap": edits["single"]}, tmp_path / "single")


@pytest.fixture
def asked_run(run: Path, edits: dict[str, Shift | ReGap], organism: Model) -> Path:
    """A run that was asked for corrections at image tokens, and chose one within budgets."""
    rows = [
        {"model": "organism", "condition": condition, "vector": "none", "layer": -1, "alpha": 0.0}
        | {"arm": ARM, "measure": measure, "value": 0.5, "low": float("nan"), "high": float("nan"), "n": 6}
        for condition in ("nothing", WITHIN, "image tokens, random 0")
        for measure in ("refusal", "auroc_z")
    ]
    chosen = {WITHIN: (edits["early"], organism.fingerprint)}
    table = Record("image_tokens", pd.DataFrame(rows))
    save_answer(run, "image-tokens", {"within": (0.01, 0.05)}, [table], chosen)
    return run


@pytest.mark.parametrize(
    ("method", "which", "chosen"),
    [
        ("fixed", "run", "fixed"),
        ("regap", "run", "regap"),
        ("regap", "single_run", "single"),
        ("one-pass-within-budgets", "asked_run", "early"),
    ],
)
def test_a_packed_run_protects_the_plain_model(
    method: str,
    which: str,
    chosen: str,
    regap,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    organism: Model,
    pairs: Pairs,
    edits: dict[str, Shift | ReGap],
) -> None:
    run: Path = request.getfixturevalue(which)
    code, error, shown = regap("pack", run, "--out", tmp_path / "pack", "--method", method)
    assert code == 0, error
    assert "protected(model," in shown
    card = read_pack(tmp_path / "pack").card
    assert (card.name, card.source.image_arm, card.source.seed) == ("organism", ARM, 3)
    assert card.source.false_refusals == (0.01 if chosen == "early" else 0.05)
    assert [(one.condition, one.arm, one.value, one.low) for one in card.outcomes] == [
        ("baseline", ARM, 0.5, None),
        ("corrected", ARM, 0.5, None),
    ]
    plain: Any = AutoModelForImageTextToText.from_pretrained(organism_folder(), dtype="float32").eval()
    answers = {}
    for name, arm in (("text", "text"), ("image", ARM)):
        batch = collate(organism, [pair.prompts[arm] for pair in pairs.test], range(len(pairs.test)))
        with protected(plain, tmp_path / "pack"):
            found = plain.generate(**batch.inputs, max_new_tokens=BUDGET, do_sample=False)
        written = organism.tokenizer.batch_decode(found[:, batch.real.shape[1] :], skip_special_tokens=True)
        under = generate(organism, pairs.test, arm, [edits[chosen]], max_new_tokens=BUDGET)
        assert [text.strip() for text in written] == [one.text for one in under]
        bare = plain.generate(**batch.inputs, max_new_tokens=BUDGET, do_sample=False)
        answers[name] = torch.equal(found, bare)
    assert not answers["image"]  # the pack does something to images


def test_a_correction_that_the_run_does_not_have_is_named_with_those_it_has(
    regap, run: Path, asked_run: Path, tmp_path: Path
) -> None:
    code, error, _ = regap("pack", asked_run, "--out", tmp_path / "pack", "--method", "one-pass")
    assert code == 2 and "'one-pass'; choose one of fixed, regap, one-pass-within-budgets" in error
    assert not (tmp_path / "pack").exists()


def test_corrections_of_a_run_are_read_by_name(asked_run: Path, edits: dict[str, Shift | ReGap]) -> None:
    run = open_run(asked_run)
    assert run.edits == ("fixed", "regap", "one-pass-within-budgets")
    assert run.edit("one-pass-within-budgets").identity == edits["early"].identity
    with pytest.raises(ConfigError, match="name is 'wide'; the run's corrections are fixed, regap"):
        run.edit("wide")


def test_a_correction_that_raises_attack_success_is_packed_only_when_asked(
    regap, run: Path, tmp_path: Path
) -> None:
    def outcomes(corrected: float) -> None:
        cells = [("baseline", ARM, 0.25), ("regap", ARM, corrected), ("baseline", "text", 0.0)]
        rows = [
            {"model": "organism", "condition": condition, "arm": arm, "measure": "attack_success", "n": 6}
            | {"value": value, "low": 0.0, "high": 1.0}
            for condition, arm, value in cells
        ]
        Record("outcomes", pd.DataFrame(rows)).save(run)

    outcomes(0.5)
    code, error, _ = regap("pack", run, "--out", tmp_path / "pack")
    assert (code, "raises attack success on typographic from 25.0% to 50.0%" in error) == (2, True), error
    assert "--even-if-worse" in error and not (tmp_path / "pack").exists()
    assert regap("pack", run, "--out", tmp_path / "pack", "--even-if-worse")[0] == 0
    outcomes(0.25)
    assert regap("pack", run, "--out", tmp_path / "second")[0] == 0


def test_a_run_that_moved_is_packed_without_its_model(regap, run: Path, tmp_path: Path) -> None:
    write_settings(run, CONFIG.model_copy(update={"model": "a/folder/that/is/elsewhere"}))
    run.rename(tmp_path / "by mail")
    code, error, _ = regap("pack", tmp_path / "by mail", "--out", tmp_path / "pack")
    assert code == 0, error
    assert read_pack(tmp_path / "pack").card.name == "organism"


REFUSED = [
    ("config.toml", "provenance.json is missing", lambda run: (run / "provenance.json").unlink()),
    ("summary.json", "has no complete summary.json", lambda run: (run / "summary.json").unlink()),
    ("edits", "regap: edit.json is missing", lambda run: (run / "edits" / "regap" / "edit.json").unlink()),
]


@pytest.mark.parametrize(("what", "message", "change"), REFUSED)
def test_an_unfinished_run_is_one_line(
    what: str, message: str, change, regap, run: Path, tmp_path: Path
) -> None:
    change(run)
    code, error, _ = regap("pack", run, "--out", tmp_path / "pack")
    assert (code, message in error, (tmp_path / "pack").exists()) == (2, True, False), error


def test_a_run_of_another_model_and_an_unknown_method_are_refused(regap, run: Path, tmp_path: Path) -> None:
    code, error, _ = regap("pack", run, "--out", tmp_path / "pack", "--method", "best")
    assert (code, "method is 'best'; choose one of fixed, regap" in error) == (2, True)
    provenance = provenance_of(run)
    write_json(run / "provenance.json", {**provenance, "fingerprint": "another"})
    code, error, _ = regap("pack", run, "--out", tmp_path / "pack")
    assert (code, "the edit was made on another model" in error) == (2, True)
    assert not (tmp_path / "pack").exists()


def test_a_folder_with_other_files_is_refused_before_the_model_is_loaded(regap, run: Path) -> None:
    code, error, _ = regap("pack", run, "--out", run)
    assert (code, "holds other files than a pack" in error) == (2, True)
