"""States and answers by plain Hugging Face: hooks of PyTorch, prompts of equal length without padding, `generate`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

BUDGET, BATCH = 32, 64
REFUSALS = ("sorry , i cannot help with ", "sorry , i will not do this", "sorry , i must decline")
"""How the organism's refusals begin; after the first it may name what it does not help with."""
Change = tuple[int, str, np.ndarray]
"""Block, tokens (`last`, `image` or `request`) and the vector that is added there."""


@dataclass
class Gated:
    """A change where the image enters, and another at the last token, where the mean z of some blocks is large."""

    early: Change
    late: Change
    reading: dict[int, np.ndarray]
    """The refusal direction of each block that is read, up to that of the late change."""
    threshold: float


class Plain:
    """The model as Hugging Face loads it, its processor, and the pairs."""

    def __init__(self, hf: Any, processor: Any, pairs: Sequence[Any]) -> None:
        self.hf, self.processor, self.pairs = hf.eval(), processor, list(pairs)
        self.blocks = hf.model.language_model.layers
        self.image_token = hf.config.image_token_id

    def inputs(self, arm: str, pairs: Sequence[Any]) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Yield places and inputs of prompts of equal length, without padding."""
        made, groups = [], defaultdict(list)
        for place, pair in enumerate(pairs):
            prompt = pair.prompts[arm]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": self.content(prompt)}],
                add_generation_prompt=True,
                tokenize=False,
            )
            pictures = [picture.open() for picture in prompt.pictures]
            media = {"images": pictures} if pictures else {}
            bos = self.processor.tokenizer.bos_token
            special = not (bos and text.startswith(bos))
            made.append(self.processor(text=text, **media, return_tensors="pt", add_special_tokens=special))
            groups[made[-1]["input_ids"].shape[1]].append(place)
        for members in groups.values():
            for start in range(0, len(members), BATCH):
                places = members[start : start + BATCH]
                names = made[places[0]].keys()
                yield places, {name: torch.cat([made[place][name] for place in places]) for name in names}

    @staticmethod
    def content(prompt: Any) -> list[dict[str, str]]:
        """Return a message in the parts that chat templates take."""
        parts = re.split("(<image>)", prompt.text)
        return [
            {"type": "image"} if part == "<image>" else {"type": "text", "text": part}
            for part in parts
            if part
        ]

    def where(self, ids: torch.Tensor, tokens: str, pairs: Sequence[Any], arm: str) -> torch.Tensor:
        """Return True at the named tokens."""
        if tokens == "image":
            return ids == self.image_token
        found = torch.zeros_like(ids, dtype=torch.bool)
        if tokens == "last":
            found[:, -1] = True
            return found
        for row, pair in enumerate(pairs):  # the request: the longest run of tokens that spells the message
            wanted = self.processor.tokenizer(pair.prompts[arm].text, add_special_tokens=False)["input_ids"]
            listed = ids[row].tolist()
            starts = [at for at in range(len(listed)) if listed[at : at + len(wanted)] == wanted]
            found[row, starts[0] : starts[0] + len(wanted)] = True
        return found

    @torch.inference_mode()
    def states(
        self, arm: str, pairs: Sequence[Any], tokens: str = "last", change: Change | None = None
    ) -> np.ndarray:
        """Return the states [pair, block, width] after each block: at the last token, or the mean over tokens."""
        found = np.empty((len(pairs), len(self.blocks), self.hf.config.text_config.hidden_size))
        for places, inputs in self.inputs(arm, pairs):
            kept: list[torch.Tensor] = []
            mask = self.where(inputs["input_ids"], tokens, [pairs[place] for place in places], arm)
            removers = (
                [self._changing(change, inputs, [pairs[place] for place in places], arm)] if change else []
            )
            removers += [
                block.register_forward_hook(
                    lambda _module, _given, output, kept=kept: kept.append(_of(output))
                )
                for block in self.blocks
            ]
            self.hf(**inputs)
            for remover in removers:
                remover.remove()
            stacked = torch.stack(kept, 1).double()
            for row, place in enumerate(places):
                found[place] = stacked[row][:, mask[row]].mean(1).numpy()
        return found

    def _changing(self, change: Change, inputs: dict[str, Any], pairs: Sequence[Any], arm: str) -> Any:
        block, tokens, vector = change
        mask, added = self.where(inputs["input_ids"], tokens, pairs, arm), torch.from_numpy(vector).float()

        def hook(module: Any, given: Any, output: Any) -> Any:
            states = _of(output)
            if states.shape[1] != mask.shape[1]:
                return output  # an answer's later tokens
            moved = torch.where(mask[..., None], states + added, states)
            return moved if isinstance(output, torch.Tensor) else (moved, *output[1:])

        return self.blocks[block].register_forward_hook(hook)

    def _gated(self, gated: Gated, inputs: dict[str, Any], pairs: Sequence[Any], arm: str) -> list[Any]:
        """Add hooks that make the early change, read, and make the late one in prompts above the threshold."""
        seen: list[torch.Tensor] = []
        last, added = gated.late[0], torch.from_numpy(gated.late[2]).float()

        def reader(direction: np.ndarray) -> Any:
            def read(module: Any, given: Any, output: Any) -> None:
                if _of(output).shape[1] == inputs["input_ids"].shape[1]:
                    seen.append(_of(output)[:, -1].double() @ torch.from_numpy(direction))

            return read

        def correct(module: Any, given: Any, output: Any) -> Any:
            states = _of(output)
            if states.shape[1] != inputs["input_ids"].shape[1]:
                return output
            moved = states.clone()
            moved[torch.stack(seen).mean(0) > gated.threshold, -1] += added
            return moved if isinstance(output, torch.Tensor) else (moved, *output[1:])

        hooks = [
            self.blocks[block].register_forward_hook(reader(each)) for block, each in gated.reading.items()
        ]
        early = self._changing(gated.early, inputs, pairs, arm)
        return [early, *hooks, self.blocks[last].register_forward_hook(correct)]

    @torch.inference_mode()
    def answers(
        self, arm: str, pairs: Sequence[Any], change: Change | list[Change] | Gated | None = None
    ) -> list[str]:
        """Return the greedy answer to each pair."""
        found = [""] * len(pairs)
        for places, inputs in self.inputs(arm, pairs):
            asked = [pairs[place] for place in places]
            removers = []
            if isinstance(change, Gated):
                removers = self._gated(change, inputs, asked, arm)
            elif change:
                changes = change if isinstance(change, list) else [change]
                removers = [self._changing(one, inputs, asked, arm) for one in changes]
            output = self.hf.generate(**inputs, max_new_tokens=BUDGET, do_sample=False)
            for remover in removers:
                remover.remove()
            texts = self.processor.batch_decode(
                output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            for place, text in zip(places, texts, strict=True):
                found[place] = text.strip()
        return found

    def refused(self, arm: str, pairs: Sequence[Any], change: Change | Gated | None = None) -> np.ndarray:
        """Return 1 for each answer that begins like one of the refusals."""
        return np.array([float(text.startswith(REFUSALS)) for text in self.answers(arm, pairs, change)])


def _of(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]
