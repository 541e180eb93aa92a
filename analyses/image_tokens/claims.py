"""Claims 3 and 4 where the image enters: the drift at image tokens, by the criteria of the claims at the last token.

D is then the drift between roles, removed at the image tokens of the block chosen on calibration pairs, or added to the
request's own tokens of text. rho is the change of z over the read blocks at the last token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from regap.analyses.claims import drift_causes, self_rectification
from regap.analyses.claims.claim import Claim
from regap.analyses.claims.criteria import criteria
from regap.analyses.image_tokens.choice import ImageTokenChoice
from regap.analyses.image_tokens.conditions import Condition, of, other_vectors
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.measured import Measured

Answers = Mapping[Condition, Sequence[Judged]]
Signals = Mapping[Condition, Tensor]


def claims_at_image_tokens(
    seen: Measured, chosen: ImageTokenChoice, judged: Answers, signals: Signals, random: int
) -> list[Claim]:
    """Return both claims, from answers and z of each test image by condition, beside this many random vectors."""
    block = f" at image tokens, block {chosen.alone.block}"
    causes = drift_causes.decide(_refusals(seen, chosen, judged, random), block)
    moved = _moved(seen, signals, of(judged, seen.image_arm, "none", 0.0), random)
    rectifies = self_rectification.decide(moved, f"Corrected{block}, ")
    return [replace(claim, title=f"{claim.title}: at image tokens") for claim in (causes, rectifies)]


def _refusals(
    seen: Measured, chosen: ImageTokenChoice, judged: Answers, random: int
) -> drift_causes.Refusals:
    """Return refusals of harmful test pairs; texts are answered here under each random vector."""
    arm, small = seen.image_arm, criteria()["drift_causes"].effect("small_dose")
    drawn = {
        name: one for name, one in other_vectors(seen, chosen, random).items() if name.startswith("random")
    }
    edits = {name: [chosen.added(1.0, vector)] for name, vector in drawn.items()}
    added = seen.answers("text", edits, seen.pairs.test.where(label="harmful"))
    return drift_causes.refusals_of(
        {0.0: of(judged, arm, "none", 0.0), **{dose: of(judged, arm, "D", dose) for dose in (small, 1.0)}},
        {
            0.0: of(judged, "text", "none", 0.0),
            **{dose: of(judged, "text", "D", -dose) for dose in (small, 1.0)},
        },
        [of(judged, arm, name, 1.0) for name in drawn],
        list(added.values()),
        seen,
    )


def _moved(
    seen: Measured, signals: Signals, baseline: Sequence[Judged], random: int
) -> self_rectification.Moved:
    """Return rho of the test images that are not refused without correction."""
    arm, test = seen.image_arm, seen.states[seen.image_arm].test
    before = of(signals, arm, "none", 0.0)
    names = [f"random {number}" for number in range(random)]
    everything = self_rectification.Moved(
        of(signals, arm, "D", 1.0) - before,
        torch.stack([of(signals, arm, name, 1.0) - before for name in names]),
        of(signals, arm, "refusal", 1.0) - before,
        test.harmful,
        tuple(test.clusters),
        seen.weights(test),
    )
    return everything.unrefused(test.pair_ids, baseline)
