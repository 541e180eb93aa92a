"""Which prompts go through a model together: batches of about equal length."""

from collections.abc import Iterator, Sequence

from regap.geometry.models import Model, ModelError
from regap.geometry.pairs import Prompt
from regap.geometry.prompts import Batch, collate, render


def batches(model: Model, prompts: Sequence[Prompt], size: int) -> Iterator[Batch]:
    """Yield batches of at most `size` prompts of about equal length, longest first; no prompt is cut.

    Longest first, so that a batch too large for the memory fails at once and not after an hour.
    """
    if size < 1:
        raise ModelError(f"batch size {size} is no batch; give at least 1")
    for rows in batch_rows(model, prompts, size):
        yield collate(model, [prompts[row] for row in rows], rows)


def batch_rows(model: Model, prompts: Sequence[Prompt], size: int) -> list[list[int]]:
    """Return which prompts go in which batch: sorted by length, pictures and words apart."""
    lengths = [_length(model, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda row: (not prompts[row].pictures, -lengths[row], row))
    groups: list[list[int]] = []
    for row in order:
        last = groups[-1] if groups else None
        if last and len(last) < size and bool(prompts[last[0]].pictures) == bool(prompts[row].pictures):
            last.append(row)
        else:
            groups.append([row])
    return groups


def _length(model: Model, prompt: Prompt) -> int:
    return len(model.tokenizer(render(model, prompt), add_special_tokens=False)["input_ids"])
