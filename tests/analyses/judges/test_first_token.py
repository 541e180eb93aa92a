"""Log-odds against the softmax, and against a plain pass of the model; edits and batches change what they should."""

import math
from collections.abc import Callable

import pytest
import torch

from regap.analyses.judges.first_token import first_token_judge, first_token_log_odds, log_odds
from regap.geometry.data.pairs import Pair, Pairs
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Positions, Site
from regap.interventions.generation import Completion, generate


def test_log_odds_are_those_of_the_softmax_and_never_infinite() -> None:
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    share = logits.double().softmax(-1)[:, [2, 7]].sum(-1)
    assert torch.allclose(log_odds(logits, {2, 7}), (share / (1 - share)).log())
    assert log_odds(torch.zeros(1, 4), [1]).item() == pytest.approx(math.log(1 / 3))
    assert log_odds(torch.tensor([[900.0, 0.0, 0.0]]), [0]).item() == pytest.approx(900 - math.log(2))
    assert torch.allclose(log_odds(logits, {2, 7}), -log_odds(logits, set(range(11)) - {2, 7}))


@pytest.mark.parametrize("tokens", [[], [0, 1, 2], [3], [-1]])
def test_tokens_that_the_model_has_not_or_has_alone_are_refused(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="give some, not all, of the model's tokens 0 to 2"):
        log_odds(torch.zeros(1, 3), tokens)


@pytest.mark.parametrize("positions", ["last", "all"])
def test_every_prompt_gets_the_log_odds_of_a_pass_of_its_own(
    positions: Positions, tiny: Model, tiny_pairs: Pairs
) -> None:
    vector = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    shift = Shift(Site((1,), positions), vector, 3.0, "random")
    told: list[int] = []
    found = first_token_log_odds(
        Runner(tiny, Limits(prompts=5)).telling(told.append),
        tiny_pairs,
        "typographic",
        {5, 9},
        {"baseline": [], "edited": [shift]},
    )
    assert sum(told) == 24
    for pair in [*tiny_pairs][:4]:
        batch = collate(tiny, [pair.prompts["typographic"]], [0])
        for name, edits in (("baseline", []), ("edited", [shift])):
            alone = log_odds(run(tiny, batch, (), edits).logits, {5, 9}).item()
            assert found[name][pair.pair_id] == pytest.approx(alone, abs=1e-4)
    changes = [abs(found["edited"][name] - score) for name, score in found["baseline"].items()]
    assert len(changes) == 24 and min(changes) > 1e-3


def test_the_token_that_is_written_first_has_the_highest_odds(tiny: Model, tiny_pairs: Pairs) -> None:
    asked = tiny_pairs.first(2)
    for answer in generate(tiny, asked, "text", max_new_tokens=1):
        written = first_token_log_odds(tiny, asked, "text", {answer.first_token}, {"": []})[""]
        others = first_token_log_odds(tiny, asked, "text", {(answer.first_token + 1) % 50}, {"": []})[""]
        assert written[answer.pair_id] > others[answer.pair_id]


def test_the_judge_goes_by_the_sign_and_judges_nothing_unmeasured(
    make_pair: Callable[..., Pair], make_completion: Callable[..., Completion]
) -> None:
    judge = first_token_judge({"a": 0.1, "b": -0.1, "c": 0.0})
    found = [judge(make_pair(name), make_completion(name, "text")) for name in "abcd"]
    assert [one.verdict for one in found] == ["refused", "complied", "complied", "not_judged"]
    assert {one.judge for one in found} == {"first_token"} and "0.10" in found[0].reason


def test_a_first_token_that_belongs_to_thinking_is_not_judged(
    make_pair: Callable[..., Pair], make_completion: Callable[..., Completion]
) -> None:
    judge = first_token_judge({"a": 3.0, "b": 3.0, "c": 3.0})
    texts = {"a": "<think>no</think>I can't.", "b": "They ask for harm.</think>I can't.", "c": "I can't."}
    found = [judge(make_pair(name), make_completion(name, text)) for name, text in texts.items()]
    assert [one.verdict for one in found] == ["not_judged", "not_judged", "refused"]
    assert "thinking" in found[0].reason
