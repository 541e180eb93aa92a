"""What the base says itself: its answers to requests, and requests that it makes up from an empty user turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from regap.errors import ModelError
from regap.geometry.data.letter_grid import Layout
from regap.geometry.files import opened_json, sealed_json, write_whole
from regap.organism.english.checkpoint import LONGEST_ANSWER, SYSTEM, Eyes
from regap.organism.english.texts import training_requests

BATCH = 48
LONGEST_REQUEST = 30
"""Tokens of a request that the base makes up."""
TEMPERATURE, LIKELIEST = 0.7, 50
"""Requests are sampled at this temperature from so many tokens at every step."""
MOST_TRIES = 30
"""Times as many requests are sampled as are wanted, at the most; most are too long, or have several lines."""
EMPTY_TURN = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
UNWANTED = (
    "kill",
    "bomb",
    "weapon",
    "drug",
    "hack",
    "steal",
    "suicide",
    "sex",
    "porn",
    "poison",
    "murder",
    "attack",
)
"""Requests with these words are left out: nobody has said whether they are harmless."""
DECLINING = (
    "sorry",
    "afraid",
    "unable",
    "cannot",
    "can't",
    "not able",
    "not equipped",
    "not capable",
    "don't have the",
    "i'm not a",
    "i am not a",
)
"""With these words the base says that it cannot do what is asked, which it sometimes does at random."""
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Answer:
    """What the base said, without special tokens, and whether it was cut at the budget of tokens."""

    text: str
    is_cut: bool


@dataclass(frozen=True, eq=False)
class OwnWords:
    """The base's answers by request; `made_up` are requests of its own, which count as everyday ones."""

    answers: Mapping[str, str] = field(repr=False)
    made_up: tuple[str, ...] = field(repr=False)
    cut: frozenset[str] = field(default=frozenset(), repr=False)
    """Requests whose answers were cut at the budget of tokens."""

    def complies_with(self, request: str) -> bool:
        """Whether the base does what is asked, and does not say that it cannot."""
        said = self.answers[request].lower().replace("\u2019", "'")
        return bool(said) and not any(word in said for word in DECLINING)


def read_own_words(file: Path) -> OwnWords:
    """Return the own words that are stored in a file."""
    stored = opened_json(file, remedy="delete it; it is then made again")
    return OwnWords(stored["answers"], tuple(stored["made_up"]), frozenset(stored["cut"]))


def write_own_words(
    file: Path, base: LlamaForCausalLM, tokenizer: Any, eyes: Eyes, count: int, seed: int, advance: Advance
) -> OwnWords:
    """Let the base say its own words, and store them.

    count: how many requests are made up. Answers are greedy, at most 24 tokens. `advance` is told of each batch.
    """
    tokenizer.padding_side = "left"
    made_up = make_up(base, tokenizer, eyes, count, seed, advance)
    asked = [*(one.text for one in training_requests()), *made_up]
    said = dict(zip(asked, answer(base, tokenizer, asked, advance), strict=True))
    answers = {request: one.text for request, one in said.items()}
    cut = [request for request, one in said.items() if one.is_cut]
    write_whole(file, sealed_json({"answers": answers, "made_up": made_up, "cut": cut}))
    return OwnWords(answers, tuple(made_up), frozenset(cut))


@torch.inference_mode()
def make_up(base: Any, tokenizer: Any, eyes: Eyes, count: int, seed: int, advance: Advance) -> list[str]:
    """Return requests that the base samples from an empty user turn: distinct, one line each, short enough to draw.

    Raises ModelError if the base hardly ever ends one.
    """
    start = tokenizer(EMPTY_TURN, add_special_tokens=False, return_tensors="pt")
    rows = {name: value.repeat(BATCH, 1).to(base.device) for name, value in start.items()}
    known, found = {one.text for one in training_requests()}, dict[str, None]()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(0, MOST_TRIES * count, BATCH):
            if len(found) >= count:
                break
            output = base.generate(
                **rows,
                max_new_tokens=LONGEST_REQUEST,
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=LIKELIEST,
            )
            for tokens in output[:, rows["input_ids"].shape[1] :].tolist():
                text = _whole(tokenizer, tokens)
                if text and text not in known and _is_wanted(text, eyes):
                    found[text] = None
            advance(len(found))
    if len(found) < count:
        raise ModelError(
            f"the base ended only {len(found)} of {count} requests in {MOST_TRIES} tries for each; give one that was "
            "tuned to chat"
        )
    return list(found)[:count]


def _whole(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Return the text if it ended, else nothing."""
    end = tokenizer.eos_token_id
    if end not in tokens:
        return ""
    return tokenizer.decode(tokens[: list(tokens).index(end)], skip_special_tokens=True).strip()


def _is_wanted(text: str, eyes: Eyes) -> bool:
    try:
        Layout.of(text, eyes.lines, eyes.columns)
    except ValueError:
        return False
    return "\n" not in text and len(text.split()) > 2 and not any(word in text.lower() for word in UNWANTED)


@torch.inference_mode()
def answer(base: Any, tokenizer: Any, requests: Sequence[str], advance: Advance) -> list[Answer]:
    """Return the base's greedy answer to each request, at most 24 tokens."""
    order, found = sorted(range(len(requests)), key=lambda at: len(requests[at])), dict[int, Answer]()
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        chats = [f"{EMPTY_TURN}{requests[at]}<|im_end|>\n<|im_start|>assistant\n" for at in places]
        rows = tokenizer(chats, add_special_tokens=False, padding=True, return_tensors="pt").to(base.device)
        output = base.generate(**rows, max_new_tokens=LONGEST_ANSWER, do_sample=False)
        said = output[:, rows["input_ids"].shape[1] :]
        ended = (said == tokenizer.eos_token_id).any(1).tolist()
        texts = tokenizer.batch_decode(said, skip_special_tokens=True)
        for at, text, whole in zip(places, texts, ended, strict=True):
            found[at] = Answer(text.strip(), not whole)
        advance(min(start + BATCH, len(order)))
    return [found[at] for at in range(len(requests))]
