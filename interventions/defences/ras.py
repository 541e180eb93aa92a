"""RAS: states move towards unsafe texts by a risk, measured on the model's answer to a warning and a caption."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.data.pairs import Prompt
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.activations import label_means
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.decoding import Decoding, decode, end_tokens
from regap.interventions.defences.adashield import carefully
from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule
from regap.interventions.edits.displacement import Displace, Displacing
from regap.interventions.edits.gate import budget_threshold
from regap.interventions.edits.other_arm import OtherArms, layer_vectors
from regap.interventions.edits.site import Site
from regap.interventions.wording import Wording

STEPS, DECAY = 3, 0.5
"""Number of first tokens compared, as published; the discount from one to the next is not known to us."""


@dataclass(frozen=True, eq=False)
class Risk(FittedRule):
    """sigmoid((S - base) / width), S the cosine between first-token distributions and those of unsafe texts."""

    twins: OtherArms = field(repr=False)
    wording: Wording = field(repr=False)
    prototype: Float[Tensor, " token_id"] = field(repr=False)
    base: float
    width: float

    def __call__(self, model: Model, batch: Batch) -> Float[Tensor, " prompt"]:
        """Return the risk of each prompt of the batch; the captions with the warning are run once a batch."""
        name = f"{model.fingerprint} openings {self.wording.identity}"
        if name not in batch.kept:
            prompts = carefully(model, self.twins.prompts_in(batch, "caption"), self.wording)
            batch.kept[name] = openings(model, collate(model, prompts, range(len(prompts))))
        return torch.sigmoid((similarity(batch.kept[name], self.prototype) - self.base) / self.width)


@dataclass(frozen=True, eq=False)
class Towards(Displacing):
    """h <- h + strength * risk(x) * (centre - h) at a site, with one centre for each of its layers."""

    site: Site
    centres: Float[Tensor, "layer d_model"] = field(repr=False)
    risk: Risk = field(repr=False)
    strength: float

    @property
    def identity(self) -> str:
        """Digest of site, centres, risk and strength."""
        parts = [str(self.site), digest_of_tensor(self.centres), self.risk.identity, self.strength]
        return digest_of(["towards", *parts])

    def displacements(self, model: Model, batch: Batch) -> Iterable[Displace]:
        """Compute the risk of the batch, then return the way to the centre of each layer, by each prompt's share."""
        shares = (self.strength * self.risk(model, batch)).float()
        return [
            lambda states, rows, centre=each: shares.to(states)[rows, None] * (centre.to(states) - states)
            for each in self.centres
        ]


def ras(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * r(x) * (mu_u - h), r = sigmoid((S(x) - S_base) / width), mu_u the mean unsafe text.

    S = cos(sum_n g^(n-1) y_n, sum_n g^(n-1) y_u,n), y_n the distribution of the n-th new token, n to 3, after a
    warning, a caption and the message; y_u that of unsafe texts. Source: RAS, arXiv 2510.13698, from reviews and a
    re-implementation: there at the last layer, for the first 3 tokens. Needs: a caption of each picture and an answer
    of 3 tokens to it. Assumed: g; the warning is ours; at most the given share of harmless calibration images is above
    S_base, width is a quarter of their standard deviation; last prompt token and layer as for every method.
    """
    if "ras" not in calibration.kept:
        calibration.kept["ras"] = fitted_risk(calibration)
    means = label_means(calibration.text)["harmful"]
    centres = layer_vectors([means[calibration.text.layers.index(layer)] for layer in site.layers])
    return lambda strength: [Towards(site, centres, calibration.kept["ras"], strength)]


def fitted_risk(calibration: DefenceData) -> Risk:
    """Return the risk, with the mean over harmful calibration texts as prototype."""
    runner, pairs = calibration.runner, calibration.pairs.calibration
    texts = [pair.prompts["text"] for pair in pairs.where(label="harmful", arm="text")]
    prototype = all_openings(runner, texts).mean(0)
    captions = [pair.prompts["caption"] for pair in pairs.where(label="harmless", arm="caption")]
    seen = similarity(all_openings(runner, carefully(runner.model, captions, calibration.wording)), prototype)
    width = max(float(seen.std()) if len(seen) > 1 else 1.0, 1e-6) / 4
    base = budget_threshold(seen, calibration.false_refusals)
    return Risk(calibration.twins, calibration.wording, prototype, base, width)


def similarity(
    seen: Float[Tensor, "prompt token_id"], prototype: Float[Tensor, " token_id"]
) -> Float[Tensor, " prompt"]:
    """Return the cosine of each discounted distribution with that of unsafe texts."""
    return torch.nn.functional.cosine_similarity(seen, prototype[None], dim=-1)


def all_openings(model: Model | Runner, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt token_id"]:
    """Return `openings` of each prompt, in order."""
    runner, found = Runner.of(model), dict[int, Tensor]()

    def look(batch: Batch) -> None:
        found.update(zip(batch.rows, openings(runner.model, batch), strict=True))

    run_batches(runner.model, prompts, runner.limits.prompts, runner.limits.tokens, look)
    return torch.stack([found[row] for row in range(len(prompts))])


@torch.inference_mode()
def openings(model: Model, batch: Batch) -> Float[Tensor, "prompt token_id"]:
    """Return sum_n DECAY^(n-1) y_n over the first STEPS tokens of the greedy answer, up to its end; float64."""
    output = decode(
        model.hf,
        model.tokenizer,
        batch.inputs,
        Decoding(STEPS),
        output_logits=True,
        return_dict_in_generate=True,
    )
    stops = torch.tensor(end_tokens(model.hf, model.tokenizer))
    tokens = output.sequences[:, batch.inputs["input_ids"].shape[1] :].cpu()
    going = torch.ones(len(batch), 1, dtype=torch.float64)
    found = torch.zeros(len(batch), output.logits[0].shape[-1], dtype=torch.float64)
    for step, logits in enumerate(output.logits):
        found += DECAY**step * going * logits.cpu().double().softmax(-1)
        going = going * ~torch.isin(tokens[:, step], stops)[:, None]
    return found
