"""Generate answers under edits, with Hugging Face's own generate and the bridge's hooks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path

import torch

from regap.errors import ConfigError, StoreError
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.files import note_damaged, opened_json, sealed_json, write_whole
from regap.geometry.forward.batches import BatchSplitter, batch_rows
from regap.geometry.forward.finite import under
from regap.geometry.forward.hooks import Edit, Hook, as_edits, hooked
from regap.geometry.forward.prefix import Prefix, borrowed, prefill, prefill_under
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, prompt_digest, render
from regap.geometry.states.store import digest_of
from regap.interventions.decoding import Decoding, Sampling, answer_text, decode, end_tokens
from regap.interventions.edits.site import in_parts


@dataclass(frozen=True)
class Completion:
    """The model's answer to one pair in one arm."""

    pair_id: str
    arm: str
    text: str
    """The answer without special tokens; those that mark thinking are kept."""
    tokens: int
    """Number of generated tokens, including the end token."""
    finished: bool
    """False if the answer was cut at the token budget."""
    first_token: int
    """Id of the first generated token."""
    pair: Pair | None = field(default=None, repr=False, compare=False)
    """The pair; None for an answer that was read from a file."""
    draw: int = 0
    """Index of the draw for this prompt, 0-based; always 0 for greedy answers."""


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
    edits: Sequence[Edit] | Edit = (),
    *,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> tuple[Completion, ...]:
    """Return the completion of every pair in the arm under the edits, in the order of the pairs.

    Decoding is greedy unless `sampling` is given, and uses no setting of the checkpoint's generation_config.json but
    its end tokens; all draws of a pair are next to one another.
    """
    return generate_each(
        model, pairs, arm, {"": as_edits(edits)}, max_new_tokens=max_new_tokens, sampling=sampling
    )[""]


def generate_each(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    conditions: Mapping[str, Sequence[Edit]],
    *,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> dict[str, tuple[Completion, ...]]:
    """Return the completions under each condition, a named list of edits; an empty list is the unedited model.

    If all edits are at `last`, prompts are run only once, up to their last token, for all conditions. A runner with a
    store does not generate answers again for the same model, prompts, edits, budget and sampling.
    """
    if sampling is not None and not isinstance(sampling, Sampling):
        raise ConfigError(f"sampling is {sampling!r}; give Sampling(temperature=..., top_p=..., seed=...)")
    having = list(Pairs.of(pairs).where(arm=arm))
    prompts = [pair.prompts[arm] for pair in having]
    draws = 1 if sampling is None else sampling.draws
    found: dict[str, list[Completion | None]] = {
        name: [None for _ in range(len(having) * draws)] for name in conditions
    }
    runner = Runner.of(model)
    advance = runner.track(f"answers, {arm}", len(prompts) * len(conditions) * draws)
    fitting = BatchSplitter(runner.model)
    limits = runner.limits
    for rows in batch_rows(runner.model, prompts, limits.answers, limits.tokens, max_new_tokens):
        group = _Group(fitting, [prompts[row] for row in rows], runner.folder)
        for (name, edits), draw in product(conditions.items(), range(draws)):
            answers = group.answers(edits, Decoding(max_new_tokens, sampling, draw))
            for row, answer in zip(rows, answers, strict=True):
                pair = having[row]
                found[name][row * draws + draw] = Completion(
                    pair.pair_id, arm, **asdict(answer), pair=pair, draw=draw
                )
            advance(len(rows))
    return {name: tuple(answer for answer in answers if answer) for name, answers in found.items()}


class _Group:
    """One batch of prompts, run up to the last token at most once for all conditions."""

    def __init__(self, fitting: BatchSplitter, prompts: Sequence[Prompt], store: Path | None):
        self.fitting, self.model = fitting, fitting.model
        self.prompts, self.store = prompts, store
        self.batches: list[Batch] = []

    def answers(self, edits: Sequence[Edit], decoding: Decoding) -> list[_Answer]:
        if self.store is None:
            return self._compute(edits, decoding)
        path = self.store / f"{self._digest(edits, decoding)}.json"
        stored = _read(path, len(self.prompts))
        if stored is not None:
            return stored
        answers = self._compute(edits, decoding)
        told = {"answers": [asdict(answer) for answer in answers]}
        write_whole(path, sealed_json(told, path.stem, indent=None))
        return answers

    def _digest(self, edits: Sequence[Edit], decoding: Decoding) -> str:
        prompts = [prompt_digest(render(self.model, prompt), prompt) for prompt in self.prompts]
        key = decoding.key(self.model.hf, self.model.tokenizer)
        return digest_of([self.model.fingerprint, [edit.identity for edit in edits], prompts, *key])

    def _compute(self, edits: Sequence[Edit], decoding: Decoding) -> list[_Answer]:
        rows = range(len(self.prompts))
        if len(self.batches) != min(self.fitting.parts, len(rows)):
            self.batches = self.fitting.collate(self.prompts, rows)

        def answers(batch: Batch) -> list[_Answer]:
            prefix, hooks = _begun(self.model, batch, edits)
            if not prefix.whole:
                return list(_continue(self.model, prefix, hooks, decoding, under(edits)))
            return list(_from_start(self.model, batch, hooks, decoding, under(edits)))

        parts = self.fitting.run(self.prompts, rows, answers, self.batches)
        return [answer for part in parts for answer in part]


def _read(path: Path, expected: int) -> list[_Answer] | None:
    try:
        answers = [_Answer(**row) for row in opened_json(path, path.stem)["answers"]]
    except (StoreError, KeyError, TypeError):
        note_damaged(path)
        return None
    return answers if len(answers) == expected else None


def _begun(model: Model, batch: Batch, edits: Sequence[Edit]) -> tuple[Prefix, list[Hook]]:
    """Return the batch, run as far as answers under these edits can continue from, and the hooks of the rest.

    Prompts with pictures are run up to their last token, so that the vision tower runs once for all conditions.
    """
    if all(edit.only_last for edit in edits):
        return prefill(model, batch), _hooks(model, batch, edits)
    hooks = _hooks(model, batch, edits)
    apart = bool(batch.pictures) and in_parts(edits)
    return prefill_under(model, batch, hooks) if apart else Prefix(batch), hooks


@torch.inference_mode()
def _from_start(
    model: Model, batch: Batch, hooks: Sequence[Hook], decoding: Decoding, told: str = ""
) -> Iterator[_Answer]:
    with hooked(model, hooks):
        output = decode(model.hf, model.tokenizer, batch.inputs, decoding, told)
    return _answers(model, batch, output)


@torch.inference_mode()
def _continue(
    model: Model, prefix: Prefix, hooks: Sequence[Hook], decoding: Decoding, told: str = ""
) -> Iterator[_Answer]:
    """Generate from the prefix's keys and values, and restore them afterwards."""
    inputs = {name: prefix.batch.inputs[name] for name in ("input_ids", "attention_mask")}
    with borrowed(model, prefix), hooked(model, hooks):
        inputs["past_key_values"] = prefix.cache
        output = decode(model.hf, model.tokenizer, inputs, decoding, told)
    return _answers(model, prefix.batch, output)


def _hooks(model: Model, batch: Batch, edits: Sequence[Edit]) -> list[Hook]:
    return [hook for edit in edits for hook in edit.hooks(model, batch)]


def _answers(model: Model, batch: Batch, output: torch.Tensor) -> Iterator[_Answer]:
    ends = set(end_tokens(model.hf, model.tokenizer))
    for tokens in output[:, batch.inputs["input_ids"].shape[1] :].tolist():
        stop = next((i for i, token in enumerate(tokens) if token in ends), None)
        kept = tokens if stop is None else tokens[: stop + 1]
        yield _Answer(answer_text(model.tokenizer, kept), len(kept), stop is not None, tokens[0])
