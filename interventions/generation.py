"""What a model answers under edits: Hugging Face's own generate, with the bridge's hooks in it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.files import write_whole
from regap.geometry.forward.batches import BatchSplitter, batch_rows
from regap.geometry.forward.hooks import Edit, hooked
from regap.geometry.forward.prefix import Prefix, borrowed, prefill
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, prompt_digest, render
from regap.geometry.states.store import digest_of


@dataclass(frozen=True)
class Completion:
    """What the model answered to one pair in one arm."""

    pair_id: str
    arm: str
    text: str
    """Without special tokens."""
    tokens: int
    """How many were generated, the end token counted."""
    finished: bool
    """False if the answer was cut at the token budget."""
    first_token: int
    """Id of the first token: where a refusal shows first."""
    pair: Pair | None = field(default=None, repr=False, compare=False)
    """The pair that was asked; None for an answer that was read from a file."""


@dataclass(frozen=True)
class _Answer:
    text: str
    tokens: int
    finished: bool
    first_token: int


def generate(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    edits: Sequence[Edit] = (),
    *,
    max_new_tokens: int = 64,
) -> tuple[Completion, ...]:
    """Return the greedy completion of every pair in the arm under the edits, in the order of the pairs."""
    return generate_each(model, pairs, arm, {"": edits}, max_new_tokens=max_new_tokens)[""]


def generate_each(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    conditions: Mapping[str, Sequence[Edit]],
    *,
    max_new_tokens: int = 64,
) -> dict[str, tuple[Completion, ...]]:
    """Return the completions under each condition, a named list of edits; none at all is the model as it is.

    Prompts are run once for all conditions up to their last token, where edits at `last` allow it. A runner with a
    store answers no batch again that is there for the same model, prompts, edits and budget.
    """
    having = list(pairs.where(arm=arm))
    prompts = [pair.prompts[arm] for pair in having]
    found: dict[str, list[Completion | None]] = {name: [None] * len(having) for name in conditions}
    runner = Runner.of(model)
    advance = runner.track(f"answers, {arm}", len(prompts) * len(conditions))
    fitting = BatchSplitter(runner.model)
    for rows in batch_rows(runner.model, prompts, runner.limits.answers, runner.limits.tokens):
        group = _Group(fitting, [prompts[row] for row in rows], max_new_tokens, runner.store)
        for name, edits in conditions.items():
            for row, answer in zip(rows, group.answers(edits), strict=True):
                found[name][row] = Completion(having[row].pair_id, arm, **asdict(answer), pair=having[row])
            advance(len(rows))
    return {name: tuple(answer for answer in answers if answer) for name, answers in found.items()}


class _Group:
    """One batch of prompts, run up to the last token at most once, whatever is asked of it."""

    def __init__(self, fitting: BatchSplitter, prompts: Sequence[Prompt], budget: int, store: Path | None):
        self.fitting, self.model = fitting, fitting.model
        self.prompts, self.budget, self.store = prompts, budget, store
        self.batches: list[Batch] = []

    def answers(self, edits: Sequence[Edit]) -> list[_Answer]:
        if self.store is None:
            return self._compute(edits)
        path = self.store / f"{self._digest(edits)}.json"
        stored = _read(path, len(self.prompts))
        if stored is not None:
            return stored
        answers = self._compute(edits)
        write_whole(path, json.dumps([asdict(answer) for answer in answers]).encode())
        return answers

    def _digest(self, edits: Sequence[Edit]) -> str:
        prompts = [prompt_digest(render(self.model, prompt), prompt) for prompt in self.prompts]
        return digest_of([self.model.fingerprint, [edit.identity for edit in edits], prompts, self.budget])

    def _compute(self, edits: Sequence[Edit]) -> list[_Answer]:
        rows = range(len(self.prompts))
        if len(self.batches) != min(self.fitting.parts, len(rows)):
            self.batches = self.fitting.collate(self.prompts, rows)

        def answers(batch: Batch) -> list[_Answer]:
            if self.model.one_token_passes and all(edit.only_last for edit in edits):
                prefix = prefill(self.model, batch)
                if not prefix.whole:
                    return list(_continue(self.model, prefix, edits, self.budget))
            return list(_from_start(self.model, batch, edits, self.budget))

        parts = self.fitting.run(self.prompts, rows, answers, self.batches)
        return [answer for part in parts for answer in part]


def _read(path: Path, expected: int) -> list[_Answer] | None:
    try:
        rows = json.loads(path.read_bytes())
        answers = [_Answer(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return None  # absent or damaged: answered anew and replaced
    return answers if len(answers) == expected else None


@torch.inference_mode()
def _from_start(model: Model, batch: Batch, edits: Sequence[Edit], budget: int) -> Iterator[_Answer]:
    with hooked(model, _hooks(model, batch, edits)):
        output = model.hf.generate(**batch.inputs, **_greedy(model, budget))
    return _answers(model, batch, output)


@torch.inference_mode()
def _continue(model: Model, prefix: Prefix, edits: Sequence[Edit], budget: int) -> Iterator[_Answer]:
    """Generate from the kept keys and values, and put them back as they were."""
    inputs = prefix.batch.inputs
    hooks = _hooks(model, prefix.batch, edits)
    with borrowed(model, prefix), hooked(model, hooks):
        output = model.hf.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            past_key_values=prefix.cache,
            **_greedy(model, budget),
        )
    return _answers(model, prefix.batch, output)


def _hooks(model: Model, batch: Batch, edits: Sequence[Edit]) -> list[Any]:
    return [hook for edit in edits for hook in edit.hooks(model, batch)]


def _greedy(model: Model, budget: int) -> dict[str, Any]:
    options = {"max_new_tokens": budget, "pad_token_id": model.tokenizer.pad_token_id, "use_cache": True}
    # A checkpoint's own sampling defaults would otherwise be warned about at each call.
    return options | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def _answers(model: Model, batch: Batch, output: torch.Tensor) -> Iterator[_Answer]:
    ends = model.hf.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    for tokens in output[:, batch.inputs["input_ids"].shape[1] :].tolist():
        stop = next((i for i, token in enumerate(tokens) if token in ends), None)
        kept = tokens if stop is None else tokens[: stop + 1]
        text = model.tokenizer.decode(kept, skip_special_tokens=True).strip()
        yield _Answer(text, len(kept), stop is not None, tokens[0])
