"""A corrected model for lmms-eval: `--model regap --model_args run=RUN,condition=regap`.

lmms-eval finds it by this package's entry point `lmms_eval.models`, and then imports the class RegapModel from here;
lmms-eval is not needed before that.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from regap.analyses.adapters import needed
from regap.analyses.adapters.corrected_model import CorrectedModel, corrected_model, prompt_of
from regap.errors import ConfigError
from regap.geometry.forward.hooks import Edit
from regap.geometry.models.loading import Model

EXTRA = "lmms"
TOKENS = 1024
"""Most tokens of an answer if a task sets no limit."""


def manifest() -> Any:
    """Return the manifest by which lmms-eval finds the model."""
    known = needed("lmms_eval.models.registry_v2", EXTRA)
    return known.ModelManifest(model_id="regap", chat_class_path=f"{__name__}.RegapModel")


def model_for(model: Model, edits: Sequence[Edit] = (), batch_size: int = 1) -> Any:
    """Return an lmms-eval model that answers under these edits, for `simple_evaluate(model=...)`."""
    return regap_model().of(CorrectedModel(model, tuple(edits)), batch_size)


def __getattr__(name: str) -> Any:
    if name == "RegapModel":
        return regap_model()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def regap_model() -> type:
    """Return the class RegapModel: a chat model of lmms-eval that answers with a corrected model."""
    base = needed("lmms_eval.api.model", EXTRA).lmms

    class RegapModel(base):
        """The model of a run under one of its conditions, with greedy answers."""

        is_simple = False

        def __init__(
            self,
            run: str | None = None,
            condition: str = "regap",
            batch_size: int | str = 1,
            max_batch_size: int | str | None = None,  # noqa: ARG002 - lmms-eval passes it to every model
            device: str | None = None,  # noqa: ARG002 - the run's settings name the device
        ) -> None:
            super().__init__()
            if run is None:
                raise ConfigError(
                    "model_args has no run; write run=RUN, the folder of a finished `regap run`"
                )
            self._answer_with(corrected_model(run, condition), int(batch_size))

        @classmethod
        def of(cls, corrected: CorrectedModel, batch_size: int) -> Any:
            """Return the lmms-eval model of a corrected model."""
            made = cls.__new__(cls)
            base.__init__(made)
            made._answer_with(corrected, batch_size)
            return made

        def _answer_with(self, corrected: CorrectedModel, batch_size: int) -> None:
            self.corrected, self.batch_size = corrected, batch_size
            self.device = corrected.model.device

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            """Return the answer to each request, in order."""
            asked = [one.args for one in requests]
            found: list[str] = [""] * len(asked)
            budgets = [_budget(one[2]) for one in asked]
            for budget in dict.fromkeys(budgets):
                places = [place for place, one in enumerate(budgets) if one == budget]
                prompts = [prompt_of(self._messages(asked[place])) for place in places]
                texts = self.corrected.answers(prompts, budget, self.batch_size)
                for place, text in zip(places, texts, strict=True):
                    found[place] = _until(text, asked[place][2].get("until"))
                    self.cache_hook.add_partial(
                        "generate_until", asked[place][:1] + asked[place][2:3], found[place]
                    )
            return found

        def _messages(self, asked: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
            _, to_messages, _, document, task, split = asked
            return to_messages(self.task_dict[task][split][document])

        def loglikelihood(self, requests: Sequence[Any]) -> Any:
            """Raise NotImplementedError: answers are only generated."""
            raise NotImplementedError("regap only generates answers; choose a task of type generate_until")

        def generate_until_multi_round(self, requests: Sequence[Any]) -> Any:
            """Raise NotImplementedError: only one round is supported."""
            raise NotImplementedError("regap answers a single prompt; choose a task with one round")

    return RegapModel


def _budget(settings: Mapping[str, Any]) -> int:
    """Return the token budget of a request; raises ConfigError unless it asks for greedy answers."""
    if (
        settings.get("do_sample")
        or (settings.get("temperature") or 0) > 0
        or (settings.get("num_beams") or 1) > 1
    ):
        raise ConfigError(
            "the task samples or searches; regap answers greedily: pass --gen_kwargs temperature=0,do_sample=False"
        )
    return int(settings.get("max_new_tokens") or TOKENS)


def _until(text: str, ends: str | Sequence[str] | None) -> str:
    """Return the text up to the first of these ends; empty ends are ignored."""
    for end in [ends] if isinstance(ends, str) else ends or ():
        text = text.split(end)[0] if end else text
    return text
