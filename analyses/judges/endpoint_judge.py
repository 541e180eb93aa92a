"""A model behind an endpoint as a judge: it is shown a judge prompt for chat models, and read as every judge model."""

import os
from dataclasses import dataclass, field

from regap.analyses.judges.endpoint import Endpoint, Pace
from regap.analyses.judges.judge_prompts import EXAMPLE, FOR_CHAT, JUDGE_PROMPTS, JudgePrompt
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.verdicts import Judged
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pair
from regap.geometry.states.store import digest_of
from regap.interventions.generation import Completion


@dataclass(frozen=True, eq=False)
class EndpointJudge:
    """A model behind an endpoint under one of the judge prompts for chat models; a Judge."""

    name: str
    prompt: JudgePrompt
    endpoint: Endpoint = field(repr=False)

    def __call__(self, pair: Pair, completion: Completion) -> Judged:
        """Return the model's verdict; not judged if it writes nothing, or nothing that can be read as a verdict.

        Raises EndpointError if the endpoint cannot be used at all: then no verdict is kept.
        """
        reply = self.endpoint.ask(self.prompt.asks(pair, completion.text).turns, self.prompt.budget)
        if reply.text is None:
            return Judged(pair, completion, self.name, "not_judged", reply.problem)
        read = self.prompt.reads(pair, completion.text, reply.text)
        return Judged(pair, completion, self.name, read.verdict, read.reason)


def endpoint_judge(
    url: str,
    model: str | None,
    prompt: str = "outcome",
    key_variable: str | None = None,
    per_minute: float | None = None,
    timeout: float = 60.0,
) -> NamedJudge:
    """Return the judge that asks a model behind an endpoint; its verdicts are kept one by one.

    key_variable: the environment variable that holds the key; without one, no key is sent. The identity of the judge
    is address, model and prompt: a model that changes behind its name is not noticed.
    """
    if prompt not in FOR_CHAT:
        raise ConfigError(f"endpoint prompt is {prompt!r}; choose one of {', '.join(FOR_CHAT)}")
    if per_minute is not None and not per_minute > 0:
        raise ConfigError(f"endpoint rate is {per_minute}; give questions a minute, above 0")
    key = os.environ.get(key_variable, "").strip() if key_variable else ""
    if key_variable and not key:
        raise ConfigError(f"variable {key_variable} holds no key; set it, or name another by --endpoint-key")
    endpoint = Endpoint(url, model or "", key, timeout, pace=Pace(per_minute))
    chosen, name = JUDGE_PROMPTS[prompt], f"{prompt}@{model}"
    asked = [chosen.asks(EXAMPLE, "an answer").turns, chosen.budget]
    identity = digest_of(["endpoint", url.rstrip("/"), model, asked])
    judge = EndpointJudge(name, chosen, endpoint)
    return NamedJudge(name, judge, identity, f"{model} at {url}", chosen.defects, portion=1)
