"""Internal activation revision: the heads that tell harm best are moved towards refusal, in every step."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.geometry.data.pairs import Prompt
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import prefill
from regap.geometry.forward.runner import Runner
from regap.geometry.models.submodule_hooks import heads_of, part_name
from regap.geometry.prompts.batch import Batch
from regap.interventions.defences.calibration import DefenceData, Dose, require_parts
from regap.interventions.edits.head_shift import HeadShift
from regap.interventions.edits.site import Site

SHARE = 0.25
"""Share of heads that are moved; the published number is not known to us."""


def activation_revision(calibration: DefenceData, site: Site) -> Dose:
    """Return z <- z + strength * (mean harmful - mean harmless) for the heads of the site that tell harm best.

    z is what a head writes before the output projection, at the last token of calibration texts; heads are ranked by
    the accuracy of a probe on halves of the texts, each fitted on the other half. Source: internal activation revision,
    arXiv 2501.16378, abstract and summaries: revision of heads or layers in every step of an answer, vectors as
    differences of means, heads by probes. Needs: texts; an output projection of equal heads. Assumed: the published
    samples are safe and unsafe answers, here texts of both labels, of which the model refuses the harmful ones; a
    quarter of the heads; a probe along the difference of means.
    """
    require_parts(calibration, "activation_revision", ["heads"], site.layers)
    found = heads_on_texts(calibration)
    harmful = calibration.text.harmful
    count = heads_of(calibration.model)
    by_head = [found[layer].unflatten(1, (count, -1)) for layer in site.layers]
    kept = best_heads([probed(each, harmful) for each in by_head], SHARE)
    vectors = [
        (gap_of(each, harmful) * chosen[:, None]).flatten()
        for each, chosen in zip(by_head, kept, strict=True)
    ]
    return lambda strength: [HeadShift(site, tuple(vectors), strength)]


def gap_of(
    heads: Float[Tensor, "prompt head width"], harmful: Bool[Tensor, " prompt"]
) -> Float[Tensor, "head width"]:
    """Return mean harmful minus mean harmless of every head."""
    return heads[harmful].mean(0) - heads[~harmful].mean(0)


def probed(
    heads: Float[Tensor, "prompt head width"], harmful: Bool[Tensor, " prompt"]
) -> Float[Tensor, "head two"]:
    """Return, for each head, the accuracy of its probe on prompts not used for it, and its mean gap in deviations.

    A probe is the midpoint between the means of both labels, along their difference. The two halves are every other
    prompt of each label. The second number decides between heads of equal accuracy.
    """
    order = torch.empty(len(harmful), dtype=torch.long)
    for label in (harmful, ~harmful):
        order[label] = torch.arange(int(label.sum()))
    half = order % 2 == 0
    right, gaps = torch.zeros(len(harmful), heads.shape[1]), []
    for fitted in (half, ~half):
        gap = gap_of(heads[fitted], harmful[fitted])
        along = torch.einsum("phw,hw->ph", heads, gap)
        means = [along[fitted & label].mean(0) for label in (harmful, ~harmful)]
        held, midpoint = ~fitted, (means[0] + means[1]) / 2
        right[held] = ((along[held] > midpoint) == harmful[held, None]).to(right)
        spread = torch.stack([along[held & label].std(0) for label in (harmful, ~harmful)]).mean(0)
        difference = along[held & harmful].mean(0) - along[held & ~harmful].mean(0)
        gaps.append(difference / spread.nan_to_num(1.0).clamp_min(1e-9))
    return torch.stack([right.mean(0), torch.stack(gaps).mean(0).to(right)], 1)


def best_heads(scores: Sequence[Float[Tensor, "head two"]], share: float) -> list[Bool[Tensor, " head"]]:
    """Return, for each layer, which heads are among the best of all layers; at least one."""
    ranked = sorted(
        (
            (*each.tolist(), -layer, -head)
            for layer, found in enumerate(scores)
            for head, each in enumerate(found)
        ),
        reverse=True,
    )
    kept = [torch.zeros(len(each), dtype=torch.bool) for each in scores]
    for _, _, layer, head in ranked[: max(1, int(share * len(ranked)))]:
        kept[-layer][-head] = True
    return kept


def heads_on_texts(calibration: DefenceData) -> dict[int, Float[Tensor, "prompt width"]]:
    """Return what all heads write at the last token of each calibration text, by layer; read once, float64."""
    if "heads" not in calibration.kept:
        asked = calibration.pairs.calibration.where(arm="text")
        prompts = {pair.pair_id: pair.prompts["text"] for pair in asked}
        ordered = [prompts[pair_id] for pair_id in calibration.text.pair_ids]
        calibration.kept["heads"] = read_heads(calibration.runner, ordered)
    return calibration.kept["heads"]


def read_heads(runner: Runner, prompts: Sequence[Prompt]) -> dict[int, Float[Tensor, "prompt width"]]:
    """Return what all heads write at the last token of each prompt, by layer; float64, on the CPU."""
    model, rows = runner.model, dict[tuple[int, int], Tensor]()
    layers = [layer for layer in range(model.layers) if layer not in model.crossing]

    def read(batch: Batch) -> None:
        def keep(layer: int) -> Hook:
            def call(written: Tensor) -> None:
                rows.update(
                    ((layer, row), each.double().cpu())
                    for row, each in zip(batch.rows, written[:, -1], strict=True)
                )

            return Hook(part_name(model, "heads", layer), call)

        with torch.inference_mode():
            prefill(model, batch).run(model, [], [keep(layer) for layer in layers])

    run_batches(model, prompts, runner.limits.prompts, runner.limits.tokens, read)
    return {layer: torch.stack([rows[layer, row] for row in range(len(prompts))]) for layer in layers}
