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
from regap.analyses.image_tokens.choice import ImageTokenChoice
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.measured import Measured
from regap.geometry.drift import random_orthogonal

REMOVED = "image tokens, {:g} D"
ADDED_TO_TEXT = "request tokens, {:g} D added"
DOSES = (0.25, 1.0)
"""Multiples of the drift that the criteria ask about."""


def claims_at_image_tokens(
    seen: Measured,
    chosen: ImageTokenChoice,
    judged: Mapping[tuple[str, str], Sequence[Judged]],
    signals: Mapping[str, Tensor],
) -> list[Claim]:
    """Return both claims, from answers by arm and condition and from z of each test image by condition."""
    arm = seen.image_arm
    removed = [name for at, name in judged if at == arm and name.startswith("image tokens, random ")]
    vectors = [
        random_orthogonal(chosen.drift, seen.refusal, seen.config.seed + number)
        for number in range(len(removed))
    ]
    edits = {name: [chosen.added(1.0, vector)] for name, vector in zip(removed, vectors, strict=True)}
    added = seen.answers("text", edits, seen.pairs.test.where(label="harmful"))
    refusals = drift_causes.refusals_of(
        {0.0: judged[arm, "nothing"], **{dose: judged[arm, REMOVED.format(dose)] for dose in DOSES}},
        {
            0.0: judged["text", "nothing"],
            **{dose: judged["text", ADDED_TO_TEXT.format(dose)] for dose in DOSES},
        },
        [judged[arm, name] for name in removed],
        list(added.values()),
        seen,
    )
    block = f" at image tokens, block {chosen.alone.block}"
    causes = drift_causes.decide(refusals, block)
    rectifies = self_rectification.decide(
        _moved(seen, signals, judged[arm, "nothing"], removed), f"Corrected{block}, "
    )
    return [replace(claim, title=f"{claim.title}: at image tokens") for claim in (causes, rectifies)]


def _moved(
    seen: Measured, signals: Mapping[str, Tensor], baseline: Sequence[Judged], random: Sequence[str]
) -> self_rectification.Moved:
    """Return rho of the test images that are not refused without correction."""
    test, before = seen.states[seen.image_arm].test, signals["nothing"]
    everything = self_rectification.Moved(
        signals[REMOVED.format(1.0)] - before,
        torch.stack([signals[name] - before for name in random]),
        signals["image tokens, refusal"] - before,
        test.harmful,
        seen.resamples(test),
    )
    return everything.unrefused(test.pair_ids, baseline)
