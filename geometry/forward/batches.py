"""Batches of prompts of similar length, split if the memory runs out."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.prompts.lengths import prompt_lengths

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prefetch(
    function: Callable[[Item], Prepared], items: Iterable[Item], depth: int = 2
) -> Iterator[Prepared]:
    """Yield function(item) for each item, in order, with up to `depth` of them prepared in advance.

    One thread prepares them, since tokenizers are not thread-safe. An error is raised in place of its item.
    """
    left = iter(items)
    coming: deque[Future[Prepared]] = deque()
    with ThreadPoolExecutor(1, "regap-ahead") as pool:
        try:
            while True:
                while len(coming) < depth and (item := next(left, None)) is not None:
                    coming.append(pool.submit(function, item))
                if not coming:
                    return
                yield coming.popleft().result()
        finally:
            for each in coming:
                each.cancel()


BATCH_TOKENS = 16384
"""Most tokens in one forward pass, padding included."""
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Parts of torch's messages, for errors without a type of their own."""
Result = TypeVar("Result")


@dataclass
class BatchSplitter:
    """Runs a batch in one part; each time the memory runs out, it doubles the number of parts."""

    model: Model
    parts: int = 1

    def run(
        self,
        prompts: Sequence[Prompt],
        rows: Sequence[int],
        function: Callable[[Batch], Result],
        ready: Sequence[Batch] | None = None,
    ) -> list[Result]:
        """Return the function's result for each part, in order; `ready` holds the batches if they are made already.

        Warns once that batches became smaller. Raises ModelError if a single prompt does not fit in memory.
        """
        while True:
            fits = ready and len(ready) == len(self.groups(rows))
            batches = ready if ready and fits else self.collate(prompts, rows)
            try:
                return [function(batch) for batch in batches]
            except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                if not _out_of_memory(error):
                    raise
            ready = batches = None  # free their memory before the next attempt
            self._shrink(prompts, rows)

    def collate(self, prompts: Sequence[Prompt], rows: Sequence[int]) -> list[Batch]:
        """Return these rows of the prompts as batches, one for each part."""
        return [collate(self.model, [prompts[row] for row in part], part) for part in self.groups(rows)]

    def groups(self, rows: Sequence[int]) -> list[Sequence[int]]:
        """Return the rows of each part."""
        size = -(-len(rows) // min(self.parts, len(rows)))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _shrink(self, prompts: Sequence[Prompt], rows: Sequence[int]) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.parts >= len(rows):
            length = max(prompt_lengths(self.model, [prompts[row] for row in rows]))
            raise ModelError(
                f"out of memory on one prompt of {length} tokens; use a device with more memory, or a smaller dtype "
                "(--dtype)"
            )
        if self.parts == 1:
            warnings.warn(
                f"out of memory with {len(rows)} prompts at once: going on with smaller batches; "
                "set a lower batch_tokens (--batch-tokens) to avoid this",
                stacklevel=2,
            )
        self.parts *= 2


def _out_of_memory(error: RuntimeError | MemoryError) -> bool:
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        each in told for each in OUT_OF_MEMORY
    )


def run_batches(
    model: Model,
    prompts: Sequence[Prompt],
    size: int,
    tokens: int,
    function: Callable[[Batch], None],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Call the function on every batch; a batch that does not fit in memory is run again in parts.

    Batches hold at most `size` prompts and `tokens` tokens. The longest come first, so that memory runs out at once
    and not after an hour.
    """
    fitting = BatchSplitter(model)
    for rows in batch_rows(model, prompts, size, tokens):
        fitting.run(prompts, rows, function)
        if progress:
            progress(len(rows))


def batches(
    model: Model, prompts: Sequence[Prompt], size: int, tokens: int = BATCH_TOKENS
) -> Iterator[Batch]:
    """Yield batches of at most `size` prompts and `tokens` tokens, longest first; no prompt is cut."""
    for rows in batch_rows(model, prompts, size, tokens):
        yield collate(model, [prompts[row] for row in rows], rows)


def batch_rows(
    model: Model, prompts: Sequence[Prompt], size: int, tokens: int = BATCH_TOKENS, answer: int = 0
) -> list[list[int]]:
    """Return the prompts of each batch, sorted by length; prompts with and without pictures or sounds are kept apart.

    Prompts with sounds are alone if the model hears_one_by_one, and so is a prompt longer than `tokens`. `answer` is
    the most tokens that are written after each prompt. Raises ModelError for a size or number of tokens below 1.
    """
    for name, value in (("batch size", size), ("batch_tokens", tokens)):
        if value < 1:
            raise ModelError(f"{name} is {value}; give at least 1")
    lengths = prompt_lengths(model, prompts)
    order = sorted(range(len(prompts)), key=lambda row: (_media_in(prompts[row]), -lengths[row], row))
    groups: list[list[int]] = []
    for row in order:
        last = groups[-1] if groups else None
        if (
            last
            and len(last) < size
            and (len(last) + 1) * lengths[last[0]] <= tokens
            and _media_in(prompts[last[0]]) == _media_in(prompts[row])
            and not (model.hears_one_by_one and prompts[row].sounds)
            and model.rope_group(lengths[last[0]], answer) == model.rope_group(lengths[row], answer)
        ):
            last.append(row)
        else:
            groups.append([row])
    return groups


def _media_in(prompt: Prompt) -> tuple[bool, bool]:
    """Return what the prompt lacks: pictures, sounds."""
    return not prompt.pictures, not prompt.sounds
