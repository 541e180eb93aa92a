"""Estimate the cost of a run before any weight is loaded: parameters, tokens, memory, disk space and time."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.batches import BATCH_TOKENS, batch_rows
from regap.geometry.models.loading import Model
from regap.geometry.prompts.lengths import image_tokens, picture_size, prompt_lengths

BATCH = 64
SHARD_HEADER, PROMPT_HEADER = 600, 250
"""Approximate bytes on disk besides the numbers: for each shard, and for each prompt in header and index."""
SHARE_OF_PEAK = 0.5
"""Share of the rate of large matrix products that a forward pass reaches; our rule of thumb."""


@dataclass(frozen=True)
class Work:
    """The prompts to run, in numbers."""

    batches: tuple[tuple[int, ...], ...]
    """Number of tokens of each prompt of each batch, without padding."""
    pictures: int
    picture_tokens: int
    """Number of image tokens of all prompts together."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ModelError(
                "there are no prompts to plan for; give --pairs, or --prompts and --tokens above 0"
            )

    @property
    def prompts(self) -> int:
        """Number of prompts in all arms."""
        return sum(map(len, self.batches))

    @property
    def tokens(self) -> int:
        """Number of tokens, padding included."""
        return sum(len(batch) * max(batch) for batch in self.batches)

    @property
    def most_tokens(self) -> int:
        """Number of tokens of the largest batch, padding included."""
        return max(len(batch) * max(batch) for batch in self.batches)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, from its configuration."""

    parameters: int
    decoder: int
    """Parameters of the decoder blocks."""
    tower: int
    """Parameters of the vision tower and projector."""
    head: int
    layers: int
    width: int
    inner: int
    heads_width: int
    """Total width of all query heads."""
    cache_width: int
    """Total width of keys and values of one layer."""
    patches: int
    """Vision tower positions per image token."""
    bytes_each: int

    @classmethod
    def of(cls, model: Model) -> "Sizes":
        """Return the sizes of a model, loaded or not; tied parameters count once."""
        hf, text = model.hf, model.hf.config.get_text_config()
        decoder = hf.get_decoder()
        inside = {id(parameter) for parameter in decoder.parameters()}
        heads = int(text.num_attention_heads)
        each = max(model.head_widths)
        head = hf.get_output_embeddings()
        vision = getattr(hf.config, "vision_config", None)
        return cls(
            parameters=_count(hf.parameters()),
            decoder=_count(decoder.layers.parameters()),
            tower=_count(p for p in hf.base_model.parameters() if id(p) not in inside),
            head=_count(head.parameters()) if head is not None else 0,
            layers=model.layers,
            width=model.width,
            inner=int(getattr(text, "intermediate_size", 4 * model.width)),
            heads_width=heads * each,
            cache_width=2 * each * int(getattr(text, "num_key_value_heads", None) or heads),
            patches=int(getattr(vision, "spatial_merge_size", 1)) ** 2,
            bytes_each=hf.dtype.itemsize,
        )


@dataclass(frozen=True)
class Plan:
    """The cost of a run, in bytes and seconds."""

    sizes: Sizes
    work: Work
    max_new_tokens: int
    rate: float
    """Floating-point operations per second in large matrix products."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters."""
        return self.sizes.parameters * self.sizes.bytes_each

    @property
    def pass_bytes(self) -> int:
        """Bytes of activations while the largest batch is run.

        These are the residual stream, its norm, queries, keys and values, their rotated copies, and three inner
        states.
        """
        sizes = self.sizes
        each = 3 * sizes.width + 2 * (sizes.heads_width + sizes.cache_width) + 3 * sizes.inner
        return self.work.most_tokens * each * sizes.bytes_each

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values while the largest batch is answered."""
        largest = max(len(batch) * (max(batch) + self.max_new_tokens) for batch in self.work.batches)
        return largest * self.sizes.layers * self.sizes.cache_width * self.sizes.bytes_each

    @property
    def memory_bytes(self) -> int:
        """Peak bytes on the device: weights, a pass, keys and values."""
        return self.weight_bytes + self.pass_bytes + self.cache_bytes

    @property
    def store_bytes(self) -> int:
        """Exact bytes of the residual streams of all layers on disk, without headers and index."""
        return self.sizes.bytes_each * self.work.prompts * self.sizes.layers * self.sizes.width

    @property
    def disk_bytes(self) -> int:
        """Approximate bytes of residual streams on disk, with headers and index."""
        return self.store_bytes + SHARD_HEADER * len(self.work.batches) + PROMPT_HEADER * self.work.prompts

    @property
    def operations(self) -> int:
        """Operations of one pass over all prompts: two per parameter and token, plus attention."""
        sizes, work = self.sizes, self.work
        attention = sum(len(batch) * max(batch) ** 2 for batch in work.batches)
        blocks = 2 * sizes.decoder * work.tokens + 4 * sizes.layers * sizes.heads_width * attention
        return blocks + 2 * sizes.tower * work.picture_tokens * sizes.patches

    @property
    def answer_operations(self) -> int:
        """Operations of one answer of full length to every prompt."""
        tokens = self.work.prompts * self.max_new_tokens
        return self.operations + 2 * (self.sizes.decoder + self.sizes.head) * tokens

    @property
    def reading_seconds(self) -> float:
        """Seconds to read the residual streams of all prompts once."""
        return self.operations / (self.rate * SHARE_OF_PEAK)

    @property
    def answer_seconds(self) -> float:
        """Seconds for one answer to every prompt; more on a device that is limited by memory bandwidth."""
        return self.answer_operations / (self.rate * SHARE_OF_PEAK)


def plan(model: Model, work: Work, *, max_new_tokens: int = 64, rate: float | None = None) -> Plan:
    """Return the cost of the work; without `rate`, the speed of this processor is measured, which takes a second."""
    return Plan(
        Sizes.of(model), work, max_new_tokens, rate or measured_rate(torch.device("cpu"), model.hf.dtype)
    )


def work_of_pairs(
    model: Model, pairs: Pairs, batch_size: int = BATCH, batch_tokens: int = BATCH_TOKENS
) -> Work:
    """Return the batches that `capture` makes of all arms of the pairs."""
    batches: list[tuple[int, ...]] = []
    pictures = [p for pair in pairs for prompt in pair.prompts.values() for p in prompt.pictures]
    for arm in pairs.arms:
        prompts = [pair.prompts[arm] for pair in pairs.where(arm=arm)]
        lengths = prompt_lengths(model, prompts)
        groups = batch_rows(model, prompts, batch_size, batch_tokens)
        batches += [tuple(lengths[row] for row in group) for group in groups]
    sizes = [picture_size(picture) for picture in pictures]
    return Work(tuple(batches), len(pictures), sum(image_tokens(model.processor, sizes)))


def work_of_counts(
    model: Model,
    prompts: int,
    tokens: int,
    image_size: tuple[int, int] | None = None,
    batch_size: int = BATCH,
    batch_tokens: int = BATCH_TOKENS,
) -> Work:
    """Return batches of equal prompts of `tokens` text tokens and, if given, one picture of this height and width."""
    if prompts < 1 or tokens < 1:
        raise ModelError(f"prompts is {prompts} and tokens is {tokens}; give numbers above 0")
    seen = image_tokens(model.processor, [image_size])[0] if image_size else 0
    length = tokens + seen
    together = max(1, min(batch_size, batch_tokens // length))
    whole, left = divmod(prompts, together)
    batches = [(length,) * together] * whole + ([(length,) * left] if left else [])
    return Work(tuple(batches), prompts if image_size else 0, prompts * seen)


def measured_rate(device: torch.device, dtype: torch.dtype, width: int = 1024) -> float:
    """Return the device's floating-point operations per second in matrix products, the best of several runs."""
    one = torch.ones(width, width, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((one @ one)[0, 0])  # reading a number waits for the product
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best


@dataclass(frozen=True)
class Line:
    """One line of a printed plan."""

    name: str
    amount: str
    counted: str


def as_rows(found: Plan) -> list[Line]:
    """Return the plan as lines: name, amount, and how it was counted."""
    sizes, work = found.sizes, found.work
    each = f"{work.picture_tokens / work.pictures:.0f}" if work.pictures else "none"
    batches = f"{len(work.batches)} batches, the largest of {work.most_tokens} tokens, padding counted"
    reading, answering = found.operations / 1e12, found.answer_operations / 1e12
    rate = f"at {SHARE_OF_PEAK:.0%} of {found.rate / 1e12:.3g} TFLOP/s"
    return [
        Line("parameters", f"{sizes.parameters:,}", f"{sizes.layers} layers of width {sizes.width}; exact"),
        Line("tokens of a picture", each, "by the processor's own count"),
        Line("prompts", f"{work.prompts:,}", batches),
        Line("memory, weights", _bytes(found.weight_bytes), f"{sizes.bytes_each} bytes a parameter"),
        Line("memory, a pass", _bytes(found.pass_bytes), "within a factor of 1.5"),
        Line("memory, answering", _bytes(found.cache_bytes), "keys and values of the largest batch"),
        Line("memory, all", _bytes(found.memory_bytes), "the libraries themselves, about 1 GB, not counted"),
        Line(
            "disk",
            _bytes(found.disk_bytes),
            f"residual streams of all layers, {sizes.bytes_each} bytes a number",
        ),
        Line("time, residual streams", _time(found.reading_seconds), f"{reading:.3g} TFLOP {rate}"),
        Line("time, one answer each", _time(found.answer_seconds), f"{answering:.3g} TFLOP {rate}"),
    ]


def image_size_of(text: str) -> tuple[int, int]:
    """Return height and width from HEIGHTxWIDTH; raises ModelError for anything else."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise ModelError(f"image size {text!r} is not HEIGHTxWIDTH; write it like 336x336")
    return int(found[1]), int(found[2])


def _bytes(count: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _time(seconds: int | float) -> str:
    for unit, length in (("s", 60), ("min", 60), ("h", 48)):
        if seconds < length:
            return f"{seconds:.2g} {unit}"
        seconds /= 60 if unit != "h" else 24
    return f"{seconds:.2g} days"


def _count(parameters: Iterable[torch.Tensor]) -> int:
    """Return the number of values in the parameters; tied parameters count once."""
    return sum({id(parameter): parameter.numel() for parameter in parameters}.values())
