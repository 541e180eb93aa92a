"""A claim of the paper's abstract, tested with a criterion that was written before the run."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from regap.analyses.claims.criteria import Criterion
from regap.analyses.runs.records import Record
from regap.analyses.spoken import in_words_of
from regap.geometry.estimates import Estimate

ClaimVerdict = Literal["holds", "does not hold", "unclear"]


@dataclass(frozen=True)
class Claim:
    """The claim, our criterion, the evidence and the verdict."""

    claim: str
    title: str
    verdict: ClaimVerdict
    criterion: str
    version: int
    """Of the criterion."""
    evidence: str
    estimate: Estimate
    """The main number behind the verdict."""

    @classmethod
    def by(
        cls, criterion: Criterion, title: str, verdict: ClaimVerdict, evidence: str, estimate: Estimate
    ) -> "Claim":
        """Return the claim as judged by this criterion."""
        return cls(criterion.claim, title, verdict, criterion.rule, criterion.version, evidence, estimate)

    def about(self, arm: str) -> "Claim":
        """Return the claim in the words of the corrected arm: those of an arm of speech name no images."""
        worded = {name: in_words_of(arm, getattr(self, name)) for name in ("title", "criterion", "evidence")}
        return replace(self, **worded)


@dataclass(frozen=True, eq=False)
class Finding:
    """The result of one analysis: its claim and its tables."""

    claim: Claim
    records: tuple[Record, ...]


def verdict_of(*conditions: tuple[bool, bool]) -> ClaimVerdict:
    """Return "holds" if all conditions are met, "does not hold" if any is contradicted, else "unclear".

    A condition is (met, contradicted): its interval lies entirely on the claimed side of the bound, or on the other
    side.
    """
    if all(met for met, _ in conditions):
        return "holds"
    return "does not hold" if any(contradicted for _, contradicted in conditions) else "unclear"


def above(estimate: Estimate, bound: float = 0.0) -> tuple[bool, bool]:
    """Return (interval above the bound, interval below the bound)."""
    return estimate.low > bound, estimate.high < bound


def beyond_all(effect: float, controls: Float[Tensor, " control"], level: float = 0.05) -> tuple[bool, bool]:
    """Return (the effect is larger than every control, it is no larger than their median).

    With k controls an effect that is one of them is the largest with probability 1 / (k + 1); where that is above
    `level`, nothing is decided.
    """
    decides = 1 / (len(controls) + 1) <= level
    return decides and bool((effect > controls).all()), decides and effect <= float(controls.median())


def below(estimate: Estimate, bound: float = 0.0) -> tuple[bool, bool]:
    """Return (interval below the bound, interval above the bound)."""
    return estimate.high < bound, estimate.low > bound


def claims_record(claims: Iterable[Claim], name: str = "claims") -> Record:
    """Return the table of claims, under this name."""
    rows = []
    for claim in claims:
        row = asdict(claim)
        rows.append({**row, **row.pop("estimate")})
    return Record(name, pd.DataFrame(rows).drop(columns="estimate", errors="ignore"))
