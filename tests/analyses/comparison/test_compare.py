"""Paired tests against closed forms, and methods chosen on calibration pairs by one rule for all."""

from collections.abc import Iterator
from dataclasses import replace
from math import comb
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from regap.analyses.calibration.budgets import Budgets
from regap.analyses.comparison import tables as method_tables
from regap.analyses.comparison.choice import (
    ChosenDefence,
    available,
    calibration_of,
    check_names,
    choose,
    lacking,
    positions_of,
    sites_of,
    spread,
)
from regap.analyses.comparison.tables import against, answers_of, holm_with_gaps, relative_times
from regap.analyses.runs import measured as calibrated
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.config import read_config
from regap.analyses.runs.measured import are_harmful, measure_model
from regap.analyses.runs.pairs import contrasts_of, divided_contrasts
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pairs
from regap.geometry.models.loading import Model
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.catalogue import METHODS

CONFIG = read_config(max_new_tokens=2, resamples=100, strengths=(1.0, 2.0), false_refusals=0.4)
NAMES = ("none", "refusal_addition", "shiftdc_text", "refusal_ablation", "regap", "adashield", "ecso")


def verdicts(make_judged, text: str):
    names = {"c": "complied", "r": "refused", "?": "not_judged", "d": "degenerate"}
    return make_judged([("harmful", names[letter]) for letter in text])


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [
        ("cccccrr", "rrrrrrr", 2 / 2**5),  # five turn, all one way
        ("cccccr", "rrrrrc", 2 * (comb(6, 0) + comb(6, 1)) / 2**6),  # five against one
        ("ccrr", "ccrr", 1.0),  # none turns
        ("crcr", "rcrc", 1.0),  # as many either way
        ("ccccc?", "rrrrrr", 2 / 2**5),  # what is not judged does not count
    ],
)
def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_turn(
    make_judged, before: str, after: str, p: float
) -> None:
    found = against(verdicts(make_judged, before), verdicts(make_judged, after), "attack_success", 0)
    assert found["p"] == pytest.approx(p)


def test_a_null_says_what_could_have_been_found(make_judged) -> None:
    few = against(verdicts(make_judged, "crcr"), verdicts(make_judged, "crcr"), "attack_success", 0)
    assert few["detectable"] == float("inf") and few["p"] == 1.0
    many = against(verdicts(make_judged, "cr" * 100), verdicts(make_judged, "cr" * 100), "attack_success", 0)
    assert 0.02 < many["detectable"] < 0.1


def test_pairs_that_no_judge_judged_twice_are_no_comparison(make_judged) -> None:
    with pytest.raises(PairError, match="no pair was judged with and without a defence for attack_success"):
        against(verdicts(make_judged, "?c"), verdicts(make_judged, "c?"), "attack_success", 0)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm_with_gaps([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_with_gaps([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    gap = holm_with_gaps([float("nan"), 0.02, 0.5])
    assert gap[0] != gap[0] and gap[1:] == pytest.approx([0.04, 0.5])


def test_a_method_that_is_not_known_or_lacks_an_arm_is_refused() -> None:
    check_names(["none", "regap"])
    with pytest.raises(ConfigError, match=r"method is 'shift'; choose from none, .*shiftdc"):
        check_names(["shift"])
    with pytest.raises(
        ConfigError, match=r"method shiftdc cannot .* needs an arm caption .*; add --make caption"
    ):
        available(["shiftdc"], ["text", "typographic"])
    with pytest.raises(ConfigError, match="add --make blank-colour"):
        available(["mars"], ["text", "typographic"])


def test_all_methods_whose_arms_are_there_are_compared_and_none_comes_first() -> None:
    without = available((), ["text", "typographic"])
    assert without[0] == "none"
    assert set(METHODS) - set(without) == {"shiftdc", "ras", "mars", "cmrm_dataset", "cmrm_sample"}
    assert set(lacking(["text", "typographic"])) == set(METHODS) - set(without)
    assert set(available((), ["text", "typographic", "noise", "caption"])) == set(METHODS)
    assert available(["regap", "cast"], ["text", "typographic"]) == ["none", "regap", "cast"]


@pytest.fixture(scope="module")
def found(tiny: Model, tiny_pairs: Pairs) -> Iterator[Calibrated]:
    """The random model opens with one of a few words; what opens otherwise than with `sure` counts as a refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrated, "opens_with_refusal", lambda text: not text.startswith("sure"))
        yield calibrate(measure_model(tiny, tiny_pairs, CONFIG))


@pytest.fixture(scope="module")
def calibration(found: Calibrated) -> DefenceData:
    return calibration_of(found.seen, found.seen.pairs)


def test_positions_are_last_and_image_in_any_order() -> None:
    assert positions_of("last") == ("last",) and positions_of(" image, last") == ("image", "last")
    for wrong in ("first", "last,last", "", "last,"):
        with pytest.raises(ConfigError, match=r"positions are .*; write last, image or last,image"):
            positions_of(wrong)


def test_few_layers_are_tried_at_image_tokens_evenly_spread() -> None:
    assert spread(range(6)) == [0, 2, 4] and spread([3]) == [3] and spread([]) == []
    assert spread(range(16)) == [0, 6, 12]


def test_every_method_has_the_sites_that_its_formula_names(
    found: Calibrated, calibration: DefenceData
) -> None:
    def sites(name: str, positions: tuple[str, ...] = ("last",)) -> list[str]:
        there = sites_of(METHODS[name], found.seen.model, range(3), positions, calibration)
        return [" / ".join(str(each).removeprefix("layers ").split(" / ")[:3]) for each in there]

    last = [f"{layer} / last / prefill" for layer in range(3)]
    image = ["0 / image / prefill", "1 / image / prefill"]
    assert sites("fixed") == sites("vlm_guard", ("last", "image")) == sites("vlm_guard", ("image",)) == last
    assert sites("fixed", ("last", "image")) == [*last, *image]
    assert sites("fixed", ("image",)) == image
    assert sites("dtr") == ["0,1,2,3 / image / prefill"]
    assert sites("safeptr") == ["1,2 / image / prefill"]
    assert sites("activation_revision") == ["0,1,2,3 / last / every_step"]
    with pytest.raises(ConfigError, match=r"neither --layers nor model .* names a block of the first half"):
        sites_of(METHODS["fixed"], found.seen.model, [2], ("image",), calibration)


def test_a_method_is_chosen_at_image_tokens_where_it_refuses_most_there(
    found: Calibrated, calibration: DefenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3 layers and 2 strengths at the last token, then 2 and 3 at image tokens, one candidate is made the best."""
    asked = found.seen.pairs.calibration.where(arm="typographic")
    refusal, other = min(found.seen.refusal_tokens), max(found.seen.refusal_tokens) + 1

    def best(place: int) -> Any:
        def planted(*given: Any) -> Any:
            tokens = torch.full((len(given[3]), len(asked)), other)
            tokens[place, are_harmful(asked)] = refusal
            return SimpleNamespace(first_tokens=tokens)

        return planted

    for place, site, strength in (
        (8, "layers 0 / image", 1.0),
        (9, "layers 1 / image", 0.25),
        (3, "layers 1 / last", 2.0),
    ):
        monkeypatch.setattr("regap.analyses.comparison.choice.sweep", best(place))
        one = choose(found.seen, calibration, "fixed", ("last", "image"))
        assert one.acts_at.startswith(site) and one.strength == strength
        assert all(edit.only_last == (place < 6) for edit in one.edits)


def test_contrasts_of_calibration_limit_the_choice(
    found: Calibrated, calibration: DefenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3 layers and 2 strengths the first refuses every harmful image and every contrast, the fourth half of each."""
    settings = CONFIG.model_copy(update={"contrast": "world", "limit": 6})
    contrasts = divided_contrasts(settings, found.seen.pairs, "typographic")[0]
    refusal, other = min(found.seen.refusal_tokens), max(found.seen.refusal_tokens) + 1

    def planted(*given: Any) -> Any:
        pairs, count = given[1], len(given[3])
        tokens = torch.full((count, len(pairs)), other)
        hit = are_harmful(pairs) if bool(are_harmful(pairs).any()) else torch.ones(len(pairs)).bool()
        tokens[0, hit] = refusal
        tokens[3, hit & (torch.arange(len(pairs)) % 2 == 0)] = refusal
        return SimpleNamespace(first_tokens=tokens)

    monkeypatch.setattr("regap.analyses.comparison.choice.sweep", planted)
    told = [
        choose(found.seen, calibration, "fixed", within=Budgets(0.4, share), contrasts=contrasts)
        for share in (None, 0.5, 0.1)
    ]
    assert [(one.site.layers[0], one.strength) for one in told] == [(0, 1.0), (1, 2.0), (0, 2.0)]


@pytest.fixture(scope="module")
def chosen(found: Calibrated, calibration: DefenceData) -> list[ChosenDefence]:
    return [choose(found.seen, calibration, name) for name in NAMES]


def test_methods_are_told_which_calibration_images_are_refused(
    found: Calibrated, calibration: DefenceData
) -> None:
    asked = found.seen.pairs.calibration
    answers = found.seen.generate(asked, "typographic", {"": []})[""]
    refused = {one.pair_id for one in answers if one.first_token in found.seen.refusal_tokens}
    assert calibration.refused == refused and calibration.refusal_tokens == found.seen.refusal_tokens
    assert int(calibration.answered.sum()) == len(asked) - len(refused)


def test_the_fixed_correction_is_chosen_as_a_run_chooses_it(
    found: Calibrated, calibration: DefenceData
) -> None:
    mine = choose(found.seen, calibration, "fixed")
    assert [edit.identity for edit in mine.edits] == [found.fixed.identity]


def test_sites_and_strengths_are_those_that_the_method_allows(chosen: list[ChosenDefence]) -> None:
    for one in chosen:
        if one.rewrite:
            assert one.acts_at == "the prompt" and not one.edits
        elif one.name in ("none", "refusal_ablation"):
            assert one.strength == 1.0
        else:
            assert one.strength in CONFIG.strengths
            assert len(one.site.layers) == 1 and one.site.layers[0] < 3
    ablation = next(one for one in chosen if one.name == "refusal_ablation")
    assert str(ablation.site) == "layers 0,1,2,3 / all / every_step / norm plain"


def test_test_labels_choose_nothing(found: Calibrated) -> None:
    other = {"harmful": "harmless", "harmless": "harmful"}
    pairs = Pairs(
        tuple(
            replace(pair, label=other[pair.label]) if pair.split == "test" else pair
            for pair in found.seen.pairs
        )
    )
    swapped = replace(found, seen=replace(found.seen, pairs=pairs))
    for name in ("refusal_addition", "cast"):
        before, after = (
            choose(each.seen, calibration_of(each.seen, each.seen.pairs), name) for each in (found, swapped)
        )
        assert [edit.identity for edit in before.edits] == [edit.identity for edit in after.edits]


def test_the_tables_hold_every_method_and_compare_it_with_none(
    found: Calibrated, chosen: list[ChosenDefence]
) -> None:
    answers = answers_of(found.seen, chosen, found.seen.pairs.test)
    assert list(answers.judged) == list(NAMES)
    table = method_tables.outcome_table(found.seen, answers).table
    assert set(table["method"]) == set(NAMES) and len(table) == 4 * len(NAMES)
    none = table[table["method"] == "none"]
    assert none["change"].isna().all() and none["p"].isna().all()
    others = table[table["method"] != "none"]
    assert (others["p_holm"] >= others["p"]).all() and (others["detectable"] > 0).all()
    base = others["measure"].map(none.set_index("measure")["value"])
    assert (others["value"] - base).to_numpy() == pytest.approx(others["change"].to_numpy())
    settings = method_tables.settings_table(found.seen, chosen, answers, "words").table.set_index("method")
    assert settings.loc["none", "site"] == "nowhere" and settings.loc["shiftdc_text", "passes"] == 1
    assert settings.loc["adashield", "site"] == "the prompt" and settings.loc["adashield", "answers"] == 0
    assert 1 < answers.extra["ecso"] <= 3 and settings.loc["ecso", "answers"] == answers.extra["ecso"]
    assert settings["wording"].to_dict() == {
        name: "words" * (name in ("adashield", "ecso")) for name in NAMES
    }


def test_categories_add_up_to_the_whole(found: Calibrated, chosen: list[ChosenDefence]) -> None:
    answers = answers_of(found.seen, chosen[:2], found.seen.pairs.test)
    whole = method_tables.outcome_table(found.seen, answers).table.set_index(["method", "measure"])
    parts = method_tables.category_table(found.seen, answers).table
    assert set(parts["measure"]) == {"attack_success", "over_refusal"}
    for (method, measure), rows in parts.groupby(["method", "measure"]):
        one = whole.loc[(method, measure)]
        assert rows["n"].sum() == one["n"]
        assert (rows["value"] * rows["n"]).sum() / one["n"] == pytest.approx(one["value"])


def test_contrasts_are_a_measure_of_their_own(found: Calibrated, chosen: list[ChosenDefence]) -> None:
    asked = contrasts_of(
        CONFIG.model_copy(update={"contrast": "world", "limit": 6}), found.seen.pairs, "typographic"
    )
    assert asked is not None and len(asked) == 6
    answers, contrasts = (answers_of(found.seen, chosen[:2], each) for each in (found.seen.pairs.test, asked))
    rows = method_tables.outcome_table(found.seen, answers, contrasts).table
    rows = rows[rows["measure"] == "contrast_over_refusal"].set_index("method")
    for name, judged in contrasts.judged.items():
        assert rows.loc[name, "n"] == 6
        assert rows.loc[name, "value"] == sum(one.verdict == "refused" for one in judged) / 6
    parts = method_tables.category_table(found.seen, answers, contrasts).table
    assert set(parts[parts["measure"] == "contrast_over_refusal"]["category"]) == {"fictional", "protective"}


def test_no_defence_takes_as_long_as_itself(found: Calibrated, chosen: list[ChosenDefence]) -> None:
    few = [chosen[0], chosen[2], chosen[-1]]
    times = relative_times(found.seen, few)
    assert times["none"] == 1.0
    assert times["ecso"] > 1.0 and times["shiftdc_text"] > 0
