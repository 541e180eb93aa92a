"""Paired tests against closed forms, and methods chosen on calibration pairs by one rule for all."""

from collections.abc import Iterator
from dataclasses import replace
from math import comb

import pytest

from regap.analyses import compare, study
from regap.analyses.compare import available, check_names, choose, holm_with_gaps, mcnemar
from regap.analyses.config import ConfigError, read_config
from regap.analyses.observed import observe
from regap.analyses.study import Study, calibrate
from regap.geometry.models import Model
from regap.geometry.pairs import Pairs
from regap.interventions.methods.catalogue import METHODS

CONFIG = read_config(max_new_tokens=2, resamples=100, strengths=(1.0, 2.0), false_refusals=0.4)
NAMES = ("none", "refusal_addition", "shiftdc_text", "refusal_ablation", "regap")


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
    found = mcnemar(verdicts(make_judged, before), verdicts(make_judged, after), "attack_success")
    assert found == pytest.approx(p)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm_with_gaps([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_with_gaps([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    gap = holm_with_gaps([float("nan"), 0.02, 0.5])
    assert gap[0] != gap[0] and gap[1:] == pytest.approx([0.04, 0.5])


def test_a_method_that_is_not_known_or_lacks_an_arm_is_refused() -> None:
    check_names(["none", "regap"])
    with pytest.raises(ConfigError, match=r"method is 'shift'; choose from none, .*shiftdc"):
        check_names(["shift"])
    with pytest.raises(ConfigError, match=r"method shiftdc needs an arm caption .*; add --make caption"):
        available(["shiftdc"], ["text", "typographic"])
    with pytest.raises(ConfigError, match="add --make blank-colour"):
        available(["mars"], ["text", "typographic"])


def test_all_methods_whose_arms_are_there_are_compared_and_none_comes_first() -> None:
    without = available((), ["text", "typographic"])
    assert without[0] == "none"
    assert set(METHODS) - set(without) == {"shiftdc", "mars", "cmrm_dataset", "cmrm_sample"}
    assert set(available((), ["text", "typographic", "noise", "caption"])) == set(METHODS)
    assert available(["regap", "cast"], ["text", "typographic"]) == ["none", "regap", "cast"]


@pytest.fixture(scope="module")
def found(tiny: Model, tiny_pairs: Pairs) -> Iterator[Study]:
    """The random model opens with one of a few words; what opens otherwise than with `sure` counts as a refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "opens_with_refusal", lambda text: not text.startswith("sure"))
        yield calibrate(observe(tiny, tiny_pairs, CONFIG))


@pytest.fixture(scope="module")
def chosen(found: Study) -> list[compare.Chosen]:
    return [choose(found, name) for name in NAMES]


def test_the_fixed_correction_is_chosen_as_a_run_chooses_it(found: Study) -> None:
    mine = choose(found, "fixed")
    assert [edit.identity for edit in mine.edits] == [found.fixed.identity]


def test_sites_and_strengths_are_those_that_the_method_allows(chosen: list[compare.Chosen]) -> None:
    for one in chosen:
        if one.name in ("none", "refusal_ablation"):
            assert one.strength == 1.0
        else:
            assert one.strength in CONFIG.strengths
            assert len(one.site.layers) == 1 and one.site.layers[0] < 3
    ablation = next(one for one in chosen if one.name == "refusal_ablation")
    assert str(ablation.site) == "layers 0,1,2,3 / all / every_step / norm plain"


def test_test_labels_choose_nothing(found: Study) -> None:
    other = {"harmful": "harmless", "harmless": "harmful"}
    pairs = Pairs(
        tuple(
            replace(pair, label=other[pair.label]) if pair.split == "test" else pair
            for pair in found.seen.pairs
        )
    )
    swapped = replace(found, seen=replace(found.seen, pairs=pairs))
    for name in ("refusal_addition", "cast"):
        before, after = (choose(each, name) for each in (found, swapped))
        assert [edit.identity for edit in before.edits] == [edit.identity for edit in after.edits]


def test_the_tables_hold_every_method_and_compare_it_with_none(
    found: Study, chosen: list[compare.Chosen]
) -> None:
    judged = found.answers("typographic", {one.name: one.edits for one in chosen})
    table = compare.outcome_table(found, judged).table
    assert set(table["method"]) == set(NAMES) and len(table) == 4 * len(NAMES)
    none = table[table["method"] == "none"]
    assert none["change"].isna().all() and none["p"].isna().all()
    others = table[table["method"] != "none"]
    assert (others["p_holm"] >= others["p"]).all()
    base = others["measure"].map(none.set_index("measure")["value"])
    assert (others["value"] - base).to_numpy() == pytest.approx(others["change"].to_numpy())
    settings = compare.settings_table(found, chosen, dict.fromkeys(NAMES, 1.5)).table.set_index("method")
    assert settings.loc["none", "site"] == "nowhere" and settings.loc["shiftdc_text", "passes"] == 1


def test_no_defence_takes_as_long_as_itself(found: Study, chosen: list[compare.Chosen]) -> None:
    times = compare.relative_times(found.seen, {one.name: one.edits for one in chosen[:3]})
    assert times["none"] == 1.0
    assert all(times[name] > 0 for name in times)
