"""Claim 4, self-rectification: after correction, later layers move harmful inputs further than harmless ones.

The image arm's drift D is removed once, at strength 1; z is read along the refusal direction at all later layers.
rho(x) is the mean over these layers of z after minus z before. The corrected block is the one, of all but the last,
from which rho separates harmful from harmless calibration pairs best, by AUROC; if the correction acts before harm can
be read from the last token, later layers have more to correct. The table `rectification_by_block` has rho from every
block.

Criterion, written before any run, on test pairs:
(a) the interval of mean rho of harmful minus mean rho of harmless is above 0; (b) the interval of the AUROC of rho as
a detector of harmful is above 0.5; (c) the difference in (a) is larger than that of a random vector of the same
length, interval above 0. The claim holds if all three do, does not hold if any interval lies on the other side, and is
unclear otherwise. Also reported: plain z before and after, and probes fitted on text and on images. If rho adds
nothing to them, the evidence says so. The criterion is ours; the claim is the paper's.
"""

from collections.abc import Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.claims.claim import Claim, Finding, above, verdict_of
from regap.analyses.claims.collapse import probes
from regap.analyses.claims.drift_causes import vectors_of
from regap.analyses.runs.calibrated import Calibrated
from regap.analyses.runs.records import Record
from regap.geometry.estimates import Estimate, estimate, estimates, mean_draws
from regap.geometry.separability import auroc, bounded, gap
from regap.geometry.states.activations import Activations
from regap.interventions.edits.recipe import Removal
from regap.interventions.edits.regap import traces_of
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.signals import Traces
from regap.interventions.edits.site import Site
from regap.interventions.sweep import sweep

TITLE = "After correction, later layers move harmful images further towards refusal than harmless ones"
CRITERION = (
    "On test images mean rho of harmful minus harmless is above 0 and above that of a random vector as long, and "
    "the AUROC of rho is above 0.5; all three intervals exclude these bounds."
)
TRACED = ("D", "D_along", "D_across", "random", "refusal")


def run(calibrated: Calibrated) -> Finding:
    """Return traces by layer, the AUROC of each signal, rho from every block, and the claim."""
    test = calibrated.seen.states[calibrated.seen.image_arm].test
    block = chosen_block(calibrated)
    weights = calibrated.seen.weights(test)
    traces = {name: _traces(calibrated, name, block) for name in TRACED}
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
        Record("rectification_by_block", pd.DataFrame(_block_rows(calibrated, weights)).assign(**named)),
    )
    return Finding(_claim(test, traces, aurocs, weights, block), tables)


def chosen_block(calibrated: Calibrated) -> int:
    """Return the block from which rho detects harmful calibration images best; the earliest on ties."""
    evidence, last = calibrated.readings.evidence, calibrated.seen.model.layers - 1
    one = torch.ones(1, len(evidence.harmful), dtype=torch.float64)
    found = []
    for block in range(last):
        rho = evidence.traces(Removal(block, 1.0), range(block + 1, last + 1)).signal("rho")
        found.append(float(auroc(rho[:, None], evidence.harmful, one)))
    return max(range(last), key=lambda block: found[block])


def _traces(calibrated: Calibrated, name: str, block: int) -> Traces:
    seen = calibrated.seen
    probe = fixed_correction(vectors_of(calibrated.seen)[name], Site((block,)), 1.0)
    later = tuple(range(block + 1, seen.model.layers))
    return traces_of(seen.runner, seen.pairs.test, seen.image_arm, probe, seen.refusal, later)


def _block_rows(calibrated: Calibrated, weights: Tensor) -> Iterator[dict[str, object]]:
    """Yield gap and AUROC of rho on test images, for D and a random vector, from every block but the last."""
    seen = calibrated.seen
    test = seen.states[seen.image_arm].test
    blocks = range(seen.model.layers - 1)
    shifts = {
        (name, block): fixed_correction(vectors_of(calibrated.seen)[name], Site((block,)), 1.0)
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


def _claim(
    test: Activations,
    traces: Mapping[str, Traces],
    aurocs: Mapping[str, Tensor],
    weights: Tensor,
    block: int,
) -> Claim:
    n = len(test)
    moved = {
        name: gap(found.signal("rho")[:, None], test.harmful, weights)[:, 0] for name, found in traces.items()
    }
    apart, detector = estimate(moved["D"], n), bounded("auroc", estimate(aurocs["rho"], n), test)
    against = estimate(moved["D"] - moved["random"], n)
    added = estimate(aurocs["rho"] - torch.maximum(aurocs["z_before"], aurocs["z_after"]), n)
    evidence = (
        f"Corrected at block {block}, later layers move harmful images further along the refusal direction than "
        f"harmless ones by {apart} for D and by {estimate(moved['random'], n)} for a random vector; the AUROC of this "
        f"movement (rho) is {detector}, {_compared(added)} the better of plain z before and after ({added})"
    )
    verdict = verdict_of(above(apart), above(detector, 0.5), above(against))
    return Claim("self_rectification", TITLE, verdict, CRITERION, evidence, apart)


def _compared(added: Estimate) -> str:
    return "above" if added.low > 0 else "below" if added.high < 0 else "not told apart from"
