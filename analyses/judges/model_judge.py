"""A language model as a judge: it reads request and answer, and writes a verdict or grades the answer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from regap.analyses.judges.judge_prompts import EXAMPLE, JUDGE_PROMPTS, Asked, JudgePrompt
from regap.analyses.judges.phrases.answer_text import thinks as thinks_in
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.verdicts import Judged, JudgeReading, judged_by
from regap.errors import ConfigError, ModelError, first_line
from regap.geometry.data.pairs import Pair
from regap.geometry.models.checkpoint_files import check_files, digest_of_folder
from regap.geometry.models.checkpoints import NO_CODE, read_whole
from regap.geometry.states.store import digest_of
from regap.interventions.decoding import Decoding, decode
from regap.interventions.generation import Completion

LEAST_GRADED = 0.5
"""Least total probability of the grades; below it, the judge has not graded and the answer is not judged."""


@dataclass(frozen=True, eq=False)
class ModelJudge:
    """A language model of Hugging Face under one of the published judge prompts; a Judge."""

    prompt: JudgePrompt
    hf: Any = field(repr=False)
    tokenizer: Any = field(repr=False)

    def __post_init__(self) -> None:
        self._grades()
        if not self.prompt.asks(EXAMPLE, "").text and self.tokenizer.chat_template is None:
            raise ConfigError(
                f"the tokenizer of model judge {self.prompt.name} has no chat template; add one to its folder"
            )

    def __call__(self, pair: Pair, completion: Completion) -> Judged:
        """Return the judge's verdict; not judged if its output is no verdict or the prompt is too long for it."""

        def rule(answer: str) -> JudgeReading:
            inputs = self._inputs(self.prompt.asks(pair, answer))
            length = inputs["input_ids"].shape[1] + self.prompt.budget
            most = getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)
            if most is not None and length > most:
                reason = f"the prompt needs {length} tokens, and the judge takes {most}"
                return JudgeReading("not_judged", reason)
            thinks = self.prompt.thinks if most is None else min(self.prompt.thinks, most - length)
            output = self._graded(inputs) if self.prompt.grades else self._written(inputs, thinks)
            return self.prompt.read(pair, answer, output)

        return judged_by(self.prompt.name, pair, completion, rule)

    def shown(self, pair: Pair, answer: str) -> str:
        """Return the judge's input for an answer, special tokens included."""
        return self.tokenizer.decode(self._inputs(self.prompt.asks(pair, answer))["input_ids"][0])

    def _inputs(self, asked: Asked) -> dict[str, torch.Tensor]:
        if asked.text:
            found = self.tokenizer(asked.text, return_tensors="pt", add_special_tokens=asked.begins)
        else:
            found = self.tokenizer.apply_chat_template(
                _in_parts(asked.turns) if self.prompt.sees_pictures else asked.turns,
                tokenize=True,
                return_tensors="pt",
                return_dict=True,
                add_generation_prompt=True,
            )
        return {name: found[name].to(self.hf.device) for name in ("input_ids", "attention_mask")}

    @torch.inference_mode()
    def _written(self, inputs: dict[str, torch.Tensor], thinks: int) -> str:
        output = decode(self.hf, self.tokenizer, inputs, Decoding(self.prompt.budget + thinks))
        said = self.tokenizer.decode(
            output[0, inputs["input_ids"].shape[1] :]
        )  # marks of thinking may be special
        if thinks_in(said):
            return said
        return self.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    @torch.inference_mode()
    def _graded(self, inputs: dict[str, torch.Tensor]) -> str:
        """Return the expected grade under the next-token probabilities; the likeliest token if grades are unlikely."""
        grades = self._grades()
        shares = self.hf(**inputs).logits[0, -1].double().softmax(-1).cpu()
        given = shares[grades]
        if given.sum() < LEAST_GRADED:
            return self.tokenizer.decode([int(shares.argmax())])
        counted = torch.arange(1, len(grades) + 1, dtype=torch.float64)
        return f"{float((given * counted).sum() / given.sum()):.4f}"

    def _grades(self) -> list[int]:
        found = [self.tokenizer.encode(grade, add_special_tokens=False) for grade in self.prompt.grades]
        if any(len(tokens) != 1 for tokens in found):
            raise ConfigError(
                f"the judge model's tokenizer splits the grades {', '.join(self.prompt.grades)}; name a checkpoint "
                f"of {self.prompt.source}"
            )
        return [tokens[0] for tokens in found]


def model_judge(named: str, device: str = "cpu") -> NamedJudge:
    """Return the judge model that NAME=FOLDER names: a judge prompt, and the folder of a checkpoint.

    Nothing is downloaded, and no code in the folder is run. Raises ConfigError for an unknown prompt, and for a folder
    without a language model.
    """
    name, _, where = named.partition("=")
    if name not in JUDGE_PROMPTS or not where:
        raise ConfigError(
            f"model judge is {named!r}; write NAME=FOLDER, NAME one of {', '.join(JUDGE_PROMPTS)}"
        )
    folder, prompt = Path(where), JUDGE_PROMPTS[name]
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"folder {folder} of model judge {name} has no config.json; name the folder of a checkpoint"
        )
    models = AutoModelForImageTextToText if prompt.sees_pictures else AutoModelForCausalLM
    try:
        check_files(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **NO_CODE)
        hf = read_whole(models, str(folder), str(folder), local_files_only=True, dtype="auto")
    except ModelError as error:
        raise ConfigError(f"model judge {name}: {error}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"model judge {name}: {first_line(error)}") from None
    judge = ModelJudge(prompt, hf.eval().to(device), tokenizer)
    example = prompt.asks(EXAMPLE, "an answer")
    asked = [example.text, example.turns, prompt.budget, prompt.thinks, prompt.grades, "after thinking"]
    identity = digest_of(["judge model", name, digest_of_folder(folder), asked, str(hf.dtype)])
    return NamedJudge(name, judge, identity, prompt.source, prompt.defects)


def _in_parts(turns: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
