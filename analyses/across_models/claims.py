"""The claims over models: each model's verdict and main number, and what they say together.

The criterion is `criterion.toml`. A main number is what the claim estimates; of `drift_causes` it is the share of the
gap between refusals of text and of images that removing 1 D closes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from regap.analyses.across_models.runs import ModelRun
from regap.analyses.across_models.statistics import OverModels, over_models
from regap.analyses.claims.claim import ClaimVerdict
from regap.analyses.claims.criteria import Criterion, criteria, read_criteria
from regap.analyses.claims.drift_predicts import Across
from regap.analyses.runs.records import Record
from regap.geometry.estimates import Estimate

SITES = {"claims": "last token", "image_token_claims": "image tokens"}
"""The tables of claims, and where D is then removed."""
SIGNS = {"regap": -1.0}
"""-1 for claims whose number lies below its effect size if they hold."""
EFFECTS = {
    "collapse": "least_share",
    "drift_predicts": "least_correlation",
    "self_rectification": "least_auroc",
}


@cache
def criterion() -> Criterion:
    """Return the criterion of claims about models."""
    return read_criteria(Path(__file__).parent / "criterion.toml")["across_models"]


@dataclass(frozen=True)
class ModelClaim:
    """The verdict and main number of one claim on one model."""

    model: str
    claim: str
    site: str
    verdict: str
    estimate: Estimate

    @property
    def row(self) -> dict[str, Any]:
        """Its cells in the table."""
        names = ("model", "claim", "site", "verdict")
        return {name: getattr(self, name) for name in names} | vars(self.estimate)


def bound_of(claim: str) -> float:
    """Return the effect size that the main number is compared with."""
    if claim == "drift_causes":
        return 0.5  # more than half of the gap
    if claim == "regap":
        return -criteria()[claim].effect("least_gain")
    return criteria()[claim].effect(EFFECTS[claim])


def model_claims(run: ModelRun) -> list[ModelClaim]:
    """Return the claims of one run, at the last token and, if it was asked, at image tokens."""
    found = []
    for name, site in SITES.items():
        table = run.needed(name) if name == "claims" else run.table(name)
        for row in [] if table is None else table.to_dict("records"):
            one = Estimate(row["value"], row["low"], row["high"], int(row["n"]))
            if row["claim"] == "drift_causes":
                one = scaled(one, _gap(run, site))
            found.append(ModelClaim(run.name, str(row["claim"]), site, str(row["verdict"]), one))
    return found


def scaled(one: Estimate, gap: float) -> Estimate:
    """Return an estimate as a share of the gap; not finite where there is no gap."""
    if gap <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"), one.n)
    return Estimate(one.value / gap, one.low / gap, one.high / gap, one.n)


def _gap(run: ModelRun, site: str) -> float:
    """Return refusals of text minus refusals of images, on the requests that the claim was tried on."""
    if site == "last token":
        table = run.needed("strength")
        rows = table[(table.measure == "refusal") & (table.alpha == 0) & (table.vector == "D")]
        by = rows.set_index("direction").value
        return float(by["induce"] - by["correct"])
    table = run.needed("outcomes")
    rows = table[(table.measure == "refusal") & (table.condition == "baseline")].set_index("arm").value
    return float(rows["text"] - rows[run.arm])


@dataclass(frozen=True)
class ClaimOverModels:
    """What the models say of one claim together."""

    claim: str
    site: str
    verdict: ClaimVerdict
    verdicts: Mapping[str, int]
    bound: float
    found: OverModels

    @property
    def row(self) -> dict[str, Any]:
        """Its cells in the table."""
        counts = {name.replace(" ", "_"): self.verdicts.get(name, 0) for name in VERDICTS}
        head = {name: getattr(self, name) for name in ("claim", "site", "verdict", "bound")}
        head |= {"version": criterion().version, "p": self.found.p}
        return head | counts | vars(self.found.mean)


VERDICTS: tuple[ClaimVerdict, ...] = ("holds", "does not hold", "unclear")


def over_all_models(
    claim: str, site: str, found: Sequence[ModelClaim], across: Across | None = None
) -> ClaimOverModels:
    """Return what the models say together; models without a gap have no number, and count by their verdict alone.

    across: the permutation tests of the drift over models, which decide `drift_predicts`.
    """
    verdicts = Counter(one.verdict for one in found)
    values = [one.estimate.value for one in found if one.estimate.value == one.estimate.value]
    mean = over_models(values, bound_of(claim)) if values else OverModels.unknown(len(found))
    told = decide(claim, len(found), verdicts, mean, across)
    return ClaimOverModels(claim, site, told, dict(verdicts), bound_of(claim), mean)


def decide(
    claim: str, models: int, verdicts: Mapping[str, int], found: OverModels, across: Across | None = None
) -> ClaimVerdict:
    """Return the verdict over models, by the criterion."""
    rule = criterion()
    if models < rule.effect("least_models"):
        return "unclear"
    level, half = rule.effect("level"), models / 2
    if across is not None and claim == "drift_predicts":
        beyond, short = _predicts(across, level)
    else:
        bound, sign = bound_of(claim), SIGNS.get(claim, 1.0)
        ends = sorted((sign * (found.mean.low - bound), sign * (found.mean.high - bound)))
        beyond, short = found.p < level and ends[0] > 0, found.p < level and ends[1] < 0
    if beyond and verdicts.get("holds", 0) > half:
        return "holds"
    return "does not hold" if short or verdicts.get("does not hold", 0) > half else "unclear"


def _predicts(across: Across, level: float) -> tuple[bool, bool]:
    """Return (both correlations over models are as claimed, one of them is the other way round)."""
    both = (across.found.get(y, (0.0, 1.0)) for y in ("d_prime", "attack_success"))
    signed = [
        (sign * correlation, p < level) for sign, (correlation, p) in zip((-1.0, 1.0), both, strict=True)
    ]
    return all(r > 0 and sure for r, sure in signed), any(r < 0 and sure for r, sure in signed)


def drift_across(runs: Sequence[ModelRun]) -> Across:
    """Return the permutation tests over models of the corrected arm's drift with d' and attack success."""
    table = pd.DataFrame([_point(run.needed("prediction"), run.arm) for run in runs])
    return Across.between(
        table["drift"].tolist(), {y: table[y].tolist() for y in ("d_prime", "attack_success")}
    )


def _point(table: pd.DataFrame, arm: str) -> dict[str, float]:
    row = table[(table["level"] == "arm") & (table["name"] == arm)].iloc[0]
    return {name: float(row[name]) for name in ("drift", "d_prime", "attack_success")}


def claim_records(runs: Sequence[ModelRun]) -> list[Record]:
    """Return the tables of claims by model, of claims over models, and of the drift over models."""
    every = [one for run in runs for one in model_claims(run)]
    across, rows = drift_across(runs), []
    for claim, site in dict.fromkeys((one.claim, one.site) for one in every):
        own = [one for one in every if (one.claim, one.site) == (claim, site)]
        rows.append(over_all_models(claim, site, own, across).row)
    records = [
        Record("model_claims", pd.DataFrame([one.row for one in every])),
        Record("claims_across_models", pd.DataFrame(rows)),
    ]
    drift = [
        {"y": y, "value": r, "low": float("nan"), "high": float("nan"), "p": p, "n": len(runs)}
        for y, (r, p) in across.found.items()
    ]
    return [*records, Record("drift_across_models", pd.DataFrame(drift))] if drift else records
