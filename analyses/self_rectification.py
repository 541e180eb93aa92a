"""Claim 4, self-rectification: after correction, later layers move harmful inputs further than harmless ones.

The image arm's drift D is removed once, at the site chosen on calibration pairs, at strength 1; z is read along
the refusal direction at all later layers. rho(x) is the mean over these layers of z after minus z before.

Criterion, written before any run, on test pairs:
(a) mean rho of harmful minus mean rho of harmless has its interval above 0;
(b) the AUROC of rho as a detector of harmful has its interval above 0.5;
(c) the difference in (a) is larger than that of a random vector as long, interval above 0.
The claim holds if all three do, does not hold if any interval lies on the other side, else it is unclear. Always
reported beside it: plain z before and after, and probes fitted on text and on images. If rho adds nothing over
them, the evidence says so. The criterion is ours; the claim is the paper's.
"""

from collections.abc import Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor

from regap.analyses.claims import Claim, Finding, above, verdict_of
from regap.analyses.collapse import probes
from regap.analyses.drift_causes import vectors
from regap.analyses.records import Record
from regap.analyses.study import Study
from regap.geometry.activations import Activations
from regap.geometry.estimates import Estimate, Resamples, estimate, estimates, mean_draws
from regap.geometry.separability import auroc, gap
from regap.interventions.fixed import fixed_correction
from regap.interventions.regap import Traces, traces_of

TITLE = "After correction, later layers move harmful images further towards refusal than harmless ones"
CRITERION = (
    "On test images mean rho of harmful minus harmless is above 0 and above that of a random vector as long, and "
    "the AUROC of rho is above 0.5; all three intervals exclude these bounds."
)
TRACED = ("D", "D_along", "D_across", "random", "refusal")


def run(study: Study) -> Finding:
    """Return traces by layer, the AUROC of each signal, and the claim."""
    test = study.seen.states[study.seen.image_arm].test
    weights = Resamples.of(
        test.clusters, test.harmful, study.seen.config.resamples, study.seen.config.seed
    ).weights
    traces = {name: _traces(study, name) for name in TRACED}
    rows = [row for name, found in traces.items() for row in _trace_rows(study, name, found, weights)]
    signals = _signals(study, traces["D"])
    aurocs = {name: auroc(signal[:, None], test.harmful, weights)[:, 0] for name, signal in signals.items()}
    detectors = [{"signal": name, **vars(estimate(draws, len(test)))} for name, draws in aurocs.items()]
    named = {"model": study.seen.model.name, "arm": study.seen.image_arm}
    tables = (
        Record("self_rectification", pd.DataFrame(rows).assign(**named)),
        Record("detectors", pd.DataFrame(detectors).assign(**named)),
    )
    return Finding(_claim(test, traces, aurocs, weights), tables)


def _traces(study: Study, name: str) -> Traces:
    seen = study.seen
    probe = fixed_correction(vectors(study)[name], study.fixed.site, 1.0)
    later = study.regap.read_layers
    return traces_of(seen.model, seen.pairs.test, seen.image_arm, probe, seen.refusal, later)


def _trace_rows(study: Study, name: str, traces: Traces, weights: Tensor) -> Iterator[dict[str, object]]:
    test = study.seen.states[study.seen.image_arm].test
    measured = {"z_before": traces.before, "z_after": traces.after, "change": traces.after - traces.before}
    for label, mask in (("harmful", test.harmful), ("harmless", ~test.harmful)):
        for measure, values in measured.items():
            draws = mean_draws(values[mask], weights[:, mask])
            for layer, found in zip(study.regap.read_layers, estimates(draws, int(mask.sum())), strict=True):
                yield {"vector": name, "label": label, "layer": layer, "measure": measure, **vars(found)}


def _signals(study: Study, traces: Traces) -> dict[str, Tensor]:
    """Return every signal of every test prompt; probes are read at the layer chosen on calibration text."""
    seen = study.seen
    test = seen.states[seen.image_arm].test
    column = test.layers.index(seen.layer)
    fitted = {
        name: probe.coordinates(test)[:, column] for name, probe in probes(seen).items() if name != "refusal"
    }
    return {kind: traces.signal(kind) for kind in ("rho", "z_before", "z_after")} | fitted


def _claim(
    test: Activations, traces: Mapping[str, Traces], aurocs: Mapping[str, Tensor], weights: Tensor
) -> Claim:
    n = len(test)
    moved = {
        name: gap(found.signal("rho")[:, None], test.harmful, weights)[:, 0] for name, found in traces.items()
    }
    apart, detector = estimate(moved["D"], n), estimate(aurocs["rho"], n)
    against = estimate(moved["D"] - moved["random"], n)
    added = estimate(aurocs["rho"] - torch.maximum(aurocs["z_before"], aurocs["z_after"]), n)
    evidence = (
        f"rho of harmful minus harmless images is {apart} for D and {estimate(moved['random'], n)} for a random "
        f"vector; its AUROC is {detector}, {_compared(added)} the better of plain z before and after ({added})"
    )
    return Claim(
        "self_rectification",
        TITLE,
        verdict_of(above(apart), above(detector, 0.5), above(against)),
        CRITERION,
        evidence,
        apart,
    )


def _compared(added: Estimate) -> str:
    return "above" if added.low > 0 else "below" if added.high < 0 else "not told apart from"
