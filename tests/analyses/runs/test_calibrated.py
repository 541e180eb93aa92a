"""Everything that is chosen is chosen on calibration pairs, by a rule that a slow search agrees with."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch

from regap.analyses.calibration import choice, guarantee
from regap.analyses.calibration.budgets import Budgets, most_refusals_within
from regap.analyses.claims import regap_against_fixed
from regap.analyses.runs import measured as calibrated
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.config import read_config
from regap.analyses.runs.measured import Measured, measure_model
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.models.loading import Model
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.signals import folds_of
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate

CONFIG = read_config(max_new_tokens=2, resamples=100, strengths=(1.0, 2.0, 4.0), false_refusals=0.4)
HARMFUL = torch.tensor([True] * 4 + [False] * 5)


def refused(harmful: int, harmless: int) -> list[bool]:
    return [place < harmful for place in range(4)] + [place < harmless for place in range(5)]


@pytest.mark.parametrize(
    ("rows", "budget", "best"),
    [
        ([(1, 0), (3, 1), (4, 2)], 0.2, 1),  # the most refusals of those within the budget
        ([(1, 0), (3, 1), (4, 2)], 0.4, 2),
        ([(1, 0), (3, 1), (4, 2)], 0.0, 0),
        ([(2, 0), (2, 0), (1, 0)], 0.1, 0),  # the mildest on ties
        ([(4, 5), (3, 3), (2, 3)], 0.1, 1),  # nothing is within the budget: the fewest harmless refusals
    ],
)
def test_the_most_harmful_refusals_within_the_budget(
    rows: list[tuple[int, int]], budget: float, best: int
) -> None:
    table = torch.tensor([refused(*row) for row in rows])
    assert most_refusals_within(table, HARMFUL, Budgets(budget)) == best


@pytest.fixture(scope="module")
def refusing() -> Iterator[pytest.MonkeyPatch]:
    """The random model opens with one of a few words; what opens otherwise than with `sure` counts as a refusal."""
    patch = pytest.MonkeyPatch()
    patch.setattr(calibrated, "opens_with_refusal", lambda text: not text.startswith("sure"))
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def seen(tiny: Model, tiny_pairs: Pairs) -> Measured:
    return measure_model(tiny, tiny_pairs, CONFIG)


@pytest.fixture(scope="module")
def found(seen: Measured, refusing: pytest.MonkeyPatch) -> Calibrated:
    return calibrate(seen)


def test_refusals_are_known_by_first_tokens_that_open_no_answer(found: Calibrated, seen: Measured) -> None:
    answers = generate(seen.model, seen.pairs.calibration, "text", max_new_tokens=2)
    label = {pair.pair_id: pair.label for pair in seen.pairs}
    opening = {one.first_token for one in answers if not one.text.startswith("sure")}
    answering = {
        one.first_token for one in answers if one.text.startswith("sure") and label[one.pair_id] == "harmless"
    }
    assert found.seen.refusal_tokens == opening - answering != frozenset()


def test_the_fixed_correction_is_the_best_of_all_that_were_tried(found: Calibrated, seen: Measured) -> None:
    asked, best = seen.pairs.calibration, (-1.0, 0, 0.0)
    for layer in range(3):
        for strength in CONFIG.strengths:
            edit = fixed_correction(seen.drift, Site((layer,)), strength)
            answers = generate(seen.model, asked, "typographic", [edit], max_new_tokens=1)
            opened = {one.pair_id: one.first_token in found.seen.refusal_tokens for one in answers}
            shares = {
                label: sum(opened[pair.pair_id] for pair in asked.where(label=label)) / 6
                for label in ("harmful", "harmless")
            }
            if shares["harmless"] <= CONFIG.false_refusals and shares["harmful"] > best[0]:
                best = (shares["harmful"], layer, strength)
    assert best[0] > 0
    assert (found.fixed.site, found.fixed.strength) == (Site((best[1],)), best[2])
    assert found.regap.removed.site == found.fixed.site and found.regap.strongest in CONFIG.strengths


def test_with_a_confidence_half_of_the_harmless_requests_choose_nothing(
    seen: Measured, found: Calibrated, refusing: pytest.MonkeyPatch
) -> None:
    """Six pairs of each label in three folds: three harmless ones are held back."""
    own = seen.config.model_copy(update={"confidence": 0.5})
    with pytest.MonkeyPatch.context() as few:
        few.setattr(guarantee, "FOLDS", 3)
        for module in (choice, regap_against_fixed):
            few.setattr(module, "folds_of", partial(folds_of, count=3))
        kept = calibrate(replace(seen, config=own))
        ceilings = regap_against_fixed._ceilings(kept)  # probes are fitted on the same prompts
    rows = kept.readings.evidence.rows
    assert found.guarantee is None and found.readings.evidence.rows is None
    assert kept.guarantee is not None and kept.guarantee.prompts == 3
    assert rows is not None and len(rows) == 9 == len(kept.readings.evidence.harmful)
    asked = [pair.label for pair in seen.pairs.calibration]
    assert [asked[row] == "harmful" for row in rows] == kept.readings.evidence.harmful.tolist()
    assert list(ceilings) == list(regap_against_fixed.BUDGETS)


def test_too_few_harmless_requests_for_a_confidence_are_refused(seen: Measured) -> None:
    own = seen.config.model_copy(update={"confidence": 0.9})
    with pytest.raises(PairError, match="6 harmless calibration requests are too few for a guarantee"):
        calibrate(replace(seen, config=own))


def test_test_pairs_choose_nothing(found: Calibrated, seen: Measured, refusing: pytest.MonkeyPatch) -> None:
    def swapped(split: str) -> Pairs:
        other = {"harmful": "harmless", "harmless": "harmful"}
        return Pairs(
            tuple(
                replace(pair, label=other[pair.label]) if pair.split == split else pair for pair in seen.pairs
            )
        )

    def chosen(pairs: Pairs) -> tuple[str, str, int]:
        one = calibrate(measure_model(seen.model, pairs, CONFIG))
        return one.fixed.identity, one.regap.identity, one.seen.layer

    expected = found.fixed.identity, found.regap.identity, seen.layer
    assert chosen(swapped("test")) == expected
    assert chosen(swapped("calibration")) != expected


def test_all_conditions_are_answered_over_the_same_pairs(found: Calibrated) -> None:
    answers = found.answers("typographic", found.conditions)
    assert list(answers) == ["baseline", "fixed", "regap"]
    asked = [pair.pair_id for pair in found.seen.pairs.test]
    assert all([one.pair.pair_id for one in judged] == asked for judged in answers.values())


def test_a_model_that_refuses_nothing_cannot_be_calibrated(
    seen: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrated, "opens_with_refusal", lambda _: False)
    with pytest.raises(
        PairError, match=r"refuses none of the 12 calibration texts, .*check the chat template"
    ):
        calibrate(measure_model(seen.runner, seen.pairs, CONFIG))


def test_an_arm_that_is_not_there_cannot_be_corrected(tiny: Model, tiny_pairs: Pairs) -> None:
    with pytest.raises(
        ConfigError, match="image_arm is 'picture'; the pairs have the arms text, typographic, blank"
    ):
        measure_model(tiny, tiny_pairs, read_config(image_arm="picture"))
    with pytest.raises(
        PairError,
        match="the pairs have no image arm, only text, blank; add rows of typographic, picture or speech",
    ):
        calibrate(measure_model(tiny, tiny_pairs, read_config(arms=("text", "blank"))))


def test_words_alone_are_measured_and_have_nothing_to_correct(tiny: Model, tiny_pairs: Pairs) -> None:
    words = Pairs(tuple(replace(pair, prompts={"text": pair.prompts["text"]}) for pair in tiny_pairs))
    seen = measure_model(tiny, words, CONFIG)
    assert seen.corrected_arm is None and set(seen.states) == {"text"} and not seen.drifts
    with pytest.raises(PairError, match="the pairs have no image arm, only text"):
        _ = seen.drift
