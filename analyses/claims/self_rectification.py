"""Claim 4, self-rectification: after correction, later layers move harmful inputs further than harmless ones.

The criterion is `self_rectification` in `criteria.toml`. The image arm's drift D is removed once, at strength 1; z is
read along the refusal direction at all later layers. rho(x) is the mean over these layers of z after minus z before.
The corrected block is the one, of all but the last, from which rho separates harmful from harmless calibration pairs
best, by AUROC; if the correction acts before harm can be read from the last token, later layers have more to correct.
The table `rectification_by_block` has rho from every block. Images that are refused without correction are left out.

A mean shift at the last layer changes z of every prompt alike, so it moves no AUROC of rho: rho is taken in units of
the residual stream, and never divided by what it follows. Also reported: plain z before and after, and probes fitted on
text and on images. If rho adds nothing to them, the evidence says so. The criterion is ours; the claim is the paper's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, beyond_all, verdict_of
from regap.analyses.claims.collapse import probes
from regap.analyses.claims.criteria import criteria
from regap.analyses.claims.drift_causes import vectors_of
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.calibrated import Calibrated
from regap.analyses.runs.records import Record
from regap.geometry.drift import Drift, random_vectors
from regap.geometry.estimates import Estimate, estimate, estimates, exact_if_constant, mean_draws
from regap.geometry.separability import auroc, bounded, gap, rarer_clusters
from regap.interventions.edits.recipe import Removal
from regap.interventions.edits.regap import traces_of
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.signals import Traces
from regap.interventions.edits.site import Site
from regap.interventions.sweep import sweep

TITLE = "After correction, later layers move harmful images further towards refusal than harmless ones"
TRACED = ("D", "D_along", "D_across", "random", "refusal")


def run(calibrated: Calibrated, baseline: Sequence[Judged]) -> Finding:
    """Return traces by layer, the AUROC of each signal, rho from every block, and the claim.

    baseline: judged answers to test images without correction.
    """
    test = calibrated.seen.states[calibrated.seen.image_arm].test
    block = chosen_block(calibrated)
    weights = calibrated.seen.weights(test)
    vectors = vectors_of(calibrated.seen)
    traces = {name: _traces(calibrated, vectors[name], block) for name in TRACED}
    rows = [
        row for name, found in traces.items() for row in _trace_rows(calibrated, name, found, weights, block)
    ]
    signals = _signals(calibrated, traces["D"])
    aurocs = {name: auroc(signal[:, None], test.harmful, weights)[:, 0] for name, signal in signals.items()}
    detectors = [
        {"signal": name, **vars(bounded("auroc", estimate(draws, len(test)), test))}
        for name, draws in aurocs.items()
    ]
    named = {"model": calibrated.seen.model.name, "arm": calibrated.seen.image_arm}
    tables = (
        Record("self_rectification", pd.DataFrame(rows).assign(**named)),
        Record("detectors", pd.DataFrame(detectors).assign(**named)),
        Record(
            "rectification_by_block", pd.DataFrame(_block_rows(calibrated, vectors, weights)).assign(**named)
        ),
    )
    moved = _moved(calibrated, traces, baseline, block)
    added = estimate(aurocs["rho"] - torch.maximum(aurocs["z_before"], aurocs["z_after"]), len(test))
    told = f"; rho is {_compared(added)} the better of plain z before and after ({added})"
    return Finding(decide(moved, f"Corrected at block {block}, ", told), tables)


def chosen_block(calibrated: Calibrated) -> int:
    """Return the block from which rho detects harmful calibration images best; the earliest on ties."""
    evidence, last = calibrated.readings.evidence, calibrated.seen.model.layers - 1
    one = torch.ones(1, len(evidence.harmful), dtype=torch.float64)
    found = []
    for block in range(last):
        rho = evidence.traces(Removal(block, 1.0), range(block + 1, last + 1)).signal("rho")
        found.append(float(auroc(rho[:, None], evidence.harmful, one)))
    return max(range(last), key=lambda block: found[block])


def _traces(calibrated: Calibrated, vector: Drift, block: int) -> Traces:
    seen = calibrated.seen
    probe = fixed_correction(vector, Site((block,)), 1.0)
    later = tuple(range(block + 1, seen.model.layers))
    return traces_of(seen.runner, seen.pairs.test, seen.image_arm, probe, seen.refusal, later)


def _block_rows(
    calibrated: Calibrated, vectors: Mapping[str, Drift], weights: Tensor
) -> Iterator[dict[str, object]]:
    """Yield gap and AUROC of rho on test images, for D and a random vector, from every block but the last."""
    seen = calibrated.seen
    test = seen.states[seen.image_arm].test
    blocks = range(seen.model.layers - 1)
    shifts = {
        (name, block): fixed_correction(vectors[name], Site((block,)), 1.0)
        for name in ("D", "random")
        for block in blocks
    }
    runner, edits = (
        seen.runner.named("self-rectification by block"),
        [[], *([one] for one in shifts.values())],
    )
    every = range(seen.model.layers)
    found = sweep(runner, seen.pairs.test, seen.image_arm, edits, seen.refusal, every).coordinates
    for (name, block), after in zip(shifts, found[1:], strict=True):
        rho = (after - found[0])[:, block + 1 :].mean(1, keepdim=True)
        for measure, of in (("gap", gap), ("auroc", auroc)):
            found_in = estimate(of(rho, test.harmful, weights)[:, 0], len(test))
            yield {
                "vector": name,
                "layer": block,
                "measure": measure,
                **vars(bounded(measure, found_in, test)),
            }


def _trace_rows(
    calibrated: Calibrated, name: str, traces: Traces, weights: Tensor, block: int
) -> Iterator[dict[str, object]]:
    test = calibrated.seen.states[calibrated.seen.image_arm].test
    measured = {"z_before": traces.before, "z_after": traces.after, "change": traces.after - traces.before}
    for label, mask in (("harmful", test.harmful), ("harmless", ~test.harmful)):
        for measure, values in measured.items():
            draws = mean_draws(values[mask], weights[:, mask])
            for layer, found in enumerate(estimates(draws, int(mask.sum())), block + 1):
                yield {"vector": name, "label": label, "layer": layer, "measure": measure, **vars(found)}


def _signals(calibrated: Calibrated, traces: Traces) -> dict[str, Tensor]:
    """Return every signal on every test prompt; probes are read at the layer chosen on calibration text."""
    seen = calibrated.seen
    test = seen.states[seen.image_arm].test
    column = test.layers.index(seen.layer)
    fitted = {
        name: probe.coordinates(test)[:, column] for name, probe in probes(seen).items() if name != "refusal"
    }
    return {kind: traces.signal(kind) for kind in ("rho", "z_before", "z_after")} | fitted


@dataclass(frozen=True, eq=False)
class Moved:
    """rho of the same prompts after removing D, random vectors as long, and the refusal direction as long."""

    drift: Float[Tensor, " prompt"] = field(repr=False)
    random: Float[Tensor, "vector prompt"] = field(repr=False)
    refusal: Float[Tensor, " prompt"] = field(repr=False)
    harmful: Bool[Tensor, " prompt"] = field(repr=False)
    clusters: tuple[str, ...] = field(repr=False)
    weights: Float[Tensor, "resample prompt"] = field(repr=False)
    """How often each prompt counts in each resample."""

    def take(self, kept: Bool[Tensor, " prompt"]) -> "Moved":
        """Return these prompts alone; the resamples are those of all prompts."""
        return Moved(
            self.drift[kept],
            self.random[:, kept],
            self.refusal[kept],
            self.harmful[kept],
            tuple(name for name, keep in zip(self.clusters, kept.tolist(), strict=True) if keep),
            self.weights[:, kept],
        )

    def unrefused(self, pair_ids: Sequence[str], baseline: Sequence[Judged]) -> "Moved":
        """Return the prompts that are not refused without correction; pair_ids: their names, in order."""
        refused = {one.pair.pair_id for one in baseline if one.verdict == "refused"}
        return self.take(torch.tensor([pair_id not in refused for pair_id in pair_ids]))

    def gap(self, rho: Float[Tensor, " prompt"]) -> Float[Tensor, " resample"]:
        """Return mean rho of harmful minus mean rho of harmless prompts in each resample."""
        return gap(rho[:, None], self.harmful, self.weights)[:, 0]


def _moved(
    calibrated: Calibrated, traces: Mapping[str, Traces], baseline: Sequence[Judged], block: int
) -> Moved:
    """Return rho of the test images that are not refused without correction."""
    seen = calibrated.seen
    test = seen.states[seen.image_arm].test
    count = int(criteria()["self_rectification"].effect("random_vectors"))
    drawn = random_vectors(seen.drift, seen.refusal, count, seed=seen.config.seed)
    shifts = [fixed_correction(vector, Site((block,)), 1.0) for vector in drawn]
    later = range(block + 1, seen.model.layers)
    runner = seen.runner.named("self-rectification beside random vectors")
    found = sweep(
        runner, seen.pairs.test, seen.image_arm, [[], *([one] for one in shifts)], seen.refusal, later
    ).coordinates.mean(2)
    rho = {name: traces[name].signal("rho") for name in ("D", "refusal")}
    weights, clusters = seen.weights(test), tuple(test.clusters)
    everything = Moved(rho["D"], found[1:] - found[0], rho["refusal"], test.harmful, clusters, weights)
    return everything.unrefused(test.pair_ids, baseline)


def decide(moved: Moved, where: str = "", told: str = "") -> Claim:
    """Return the claim for the movements of these prompts.

    where, told: what the evidence begins and ends with.
    """
    criterion = criteria()["self_rectification"]
    n, few = len(moved.drift), rarer_clusters(moved.clusters, moved.harmful)
    if not few:
        evidence = f"{where}every image of one label is refused without correction, so nothing is left to detect{told}"
        nothing = Estimate(float("nan"), float("nan"), float("nan"), max(1, n))
        return Claim.by(criterion, TITLE, "unclear", evidence, nothing)
    draws = auroc(moved.drift[:, None], moved.harmful, moved.weights)[:, 0]
    detector = exact_if_constant(estimate(draws, n), few)
    apart = moved.gap(moved.drift)
    by_chance = torch.stack([moved.gap(one)[0] for one in moved.random])
    against = estimate(apart - moved.gap(moved.refusal), n)
    verdict = verdict_of(
        above(detector, criterion.effect("least_auroc")),
        beyond_all(float(apart[0]), by_chance),
        above(against),
    )
    evidence = (
        f"{where}rho tells harmful from harmless images with AUROC {detector} among the {n} that are not refused "
        f"without correction; it moves harmful ones further by {estimate(apart, n)}, by at most "
        f"{float(by_chance.max()):.2g} after {len(by_chance)} random vectors, and by "
        f"{estimate(moved.gap(moved.refusal), n)} after the refusal direction{told}"
    )
    return Claim.by(criterion, TITLE, verdict, evidence, detector)


def _compared(added: Estimate) -> str:
    return "above" if added.low > 0 else "below" if added.high < 0 else "not told apart from"
