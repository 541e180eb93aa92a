"""A language model as a judge: it is shown request and answer, writes its verdict, and is read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from regap.analyses.config import ConfigError
from regap.analyses.judges.judge_prompts import JUDGE_PROMPTS, Asked, JudgePrompt
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.verdicts import Judged
from regap.geometry.fingerprints import digest_of_folder
from regap.geometry.pairs import Pair, Prompt
from regap.geometry.store import digest_of
from regap.interventions.generation import Completion

_EXAMPLE = Pair("example", "harmful", "all", "a request", "test", {"text": Prompt("a request")})


@dataclass(frozen=True, eq=False)
class ModelJudge:
    """A causal language model of Hugging Face under one of the published judge prompts; a Judge."""

    prompt: JudgePrompt
    hf: Any = field(repr=False)
    tokenizer: Any = field(repr=False)

    def __call__(self, pair: Pair, completion: Completion) -> Judged:
        """Return what the judge says; not judged where that cannot be read, or the judge has too few positions."""
        inputs = self._inputs(self.prompt.asks(pair, completion.text))
        length = inputs["input_ids"].shape[1] + self.prompt.budget
        most = getattr(self.hf.config, "max_position_embeddings", length)
        if length > most:
            reason = f"needs {length} tokens of the judge, which has {most}"
            return Judged(pair, completion, self.prompt.name, "not_judged", reason)
        read = self.prompt.reads(pair, completion.text, self._written(inputs))
        return Judged(pair, completion, self.prompt.name, read.verdict, read.reason)

    def shown(self, pair: Pair, answer: str) -> str:
        """Return what the judge is given for an answer, its marks included."""
        return self.tokenizer.decode(self._inputs(self.prompt.asks(pair, answer))["input_ids"][0])

    def _inputs(self, asked: Asked) -> dict[str, torch.Tensor]:
        if asked.text:
            found = self.tokenizer(asked.text, return_tensors="pt", add_special_tokens=asked.begins)
        else:
            turns = [
                {"role": "user", "content": asked.request},
                {"role": "assistant", "content": asked.answer},
            ]
            found = self.tokenizer.apply_chat_template(
                turns, return_tensors="pt", return_dict=True, add_generation_prompt=True
            )
        return {name: found[name].to(self.hf.device) for name in ("input_ids", "attention_mask")}

    @torch.inference_mode()
    def _written(self, inputs: dict[str, torch.Tensor]) -> str:
        pad = self.tokenizer.pad_token_id
        output = self.hf.generate(
            **inputs,
            max_new_tokens=self.prompt.budget,
            pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
        )
        return self.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def model_judge(named: str, device: str = "cpu") -> NamedJudge:
    """Return the judge of a text like harmbench=FOLDER: a prompt's name, and the folder of a checkpoint.

    Nothing is downloaded, and no code of the folder is run. Raises ConfigError for an unknown prompt, or a folder
    that holds no causal language model.
    """
    name, _, where = named.partition("=")
    if name not in JUDGE_PROMPTS or not where:
        raise ConfigError(
            f"model judge is {named!r}; write NAME=FOLDER, NAME one of {', '.join(JUDGE_PROMPTS)}"
        )
    folder, prompt = Path(where), JUDGE_PROMPTS[name]
    if not (folder / "config.json").is_file():
        raise ConfigError(f"folder {folder} of model judge {name} has no config.json, so it is no checkpoint")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        hf: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model judge {name}: {str(error).splitlines()[0]}") from None
    judge = ModelJudge(prompt, hf.eval().to(device), tokenizer)
    example = prompt.asks(_EXAMPLE, "an answer").text
    identity = digest_of(
        ["judge model", name, digest_of_folder(folder), example, prompt.budget, str(hf.dtype)]
    )
    return NamedJudge(name, judge, identity, prompt.source, prompt.defects)
