"""A model under a correction that answers chat messages, for other tools."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from regap.analyses.runs.run import open_run
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import IMAGE_SLOT, Pair, Pairs, Prompt
from regap.geometry.data.pictures import Picture
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.interventions.generation import generate

ARM = "asked"


@dataclass(frozen=True, eq=False)
class CorrectedModel:
    """A model and the edits it answers under; no edits for the unedited model."""

    model: Model = field(repr=False)
    edits: tuple[Edit, ...]

    def answers(self, prompts: Sequence[Prompt], max_new_tokens: int, batch_size: int) -> tuple[str, ...]:
        """Return the greedy answer to each prompt, in order."""
        if not prompts:
            return ()
        pairs = tuple(
            Pair(f"request {place}", "harmless", "all", "asked by another tool", "test", {ARM: prompt})
            for place, prompt in enumerate(prompts)
        )
        runner = Runner(self.model, Limits(answers=batch_size))
        found = generate(runner, Pairs(pairs), ARM, self.edits, max_new_tokens=max_new_tokens)
        return tuple(one.text for one in found)


def corrected_model(run: str | Path, condition: str) -> CorrectedModel:
    """Return the model of a finished run under one of its conditions: baseline, fixed or regap."""
    calibrated = open_run(run).calibrated
    if condition not in calibrated.conditions:
        raise ConfigError(f"condition is {condition!r}; choose one of {', '.join(calibrated.conditions)}")
    return CorrectedModel(calibrated.seen.model, tuple(calibrated.conditions[condition]))


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> Prompt:
    """Return the prompt of chat messages: at most one system message, then one user message.

    Content is a string, or parts of type text and image; an image is a Pillow image or a path. Raises PairError for
    several turns, video and audio.
    """
    system = [_words(message) for message in messages if message["role"] == "system"]
    spoken = [message for message in messages if message["role"] != "system"]
    if len(spoken) != 1 or spoken[0]["role"] != "user" or len(system) > 1:
        told = ", ".join(str(message["role"]) for message in messages) or "none"
        raise PairError(
            f"messages have the roles {told}; give one user message, after at most one system message"
        )
    parts = _parts(spoken[0]["content"])
    text = "".join(part if isinstance(part, str) else IMAGE_SLOT for part in parts)
    pictures = tuple(part for part in parts if isinstance(part, Picture))
    return Prompt(text, pictures, system[0] if system else None)


def _words(message: Mapping[str, Any]) -> str:
    return "".join(str(part) for part in _parts(message["content"]))


def _parts(content: str | Sequence[Mapping[str, Any]]) -> list[str | Picture]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> str | Picture:
    if part["type"] == "text":
        return str(part["text"]).replace(IMAGE_SLOT, "the image")  # the slot may only mark a picture
    if part["type"] != "image":
        raise PairError(f"a message holds {part['type']}; give only text and images")
    shown = part.get("url", part.get("image"))
    if isinstance(shown, str | Path):
        return Picture.read(Path(shown))
    if not isinstance(shown, Image.Image):
        raise PairError(f"an image is a {type(shown).__name__}; give a Pillow image or the path of a file")
    kept = io.BytesIO()
    shown.save(kept, "PNG")
    return Picture(kept.getvalue())
