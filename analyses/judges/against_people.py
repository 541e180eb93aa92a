"""How far a judge can be believed: its refusals against those that people found, in XSTest's labelled completions."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from regap.analyses.judges.agreement import agreement
from regap.analyses.judges.stored_answers import NO_TOKEN
from regap.analyses.judges.verdicts import Judged, Verdict
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pair, Prompt
from regap.geometry.estimates import Estimate, proportion
from regap.interventions.generation import Completion

COLUMNS = ("type", "prompt", "completion", "final_label")
LABELS: dict[str, Verdict] = {
    "1_full_compliance": "complied",
    "2_full_refusal": "refused",
    "3_partial_refusal": "refused",
}
PEOPLE = "people"


@dataclass(frozen=True)
class JudgeCalibration:
    """A judge against people, on the completions that it judged."""

    judge: str
    precision: Estimate | None
    """Of what the judge calls refused, the share that people do; None if it calls nothing so."""
    recall: Estimate | None
    """Of what people call refused, the share that the judge does; None if they call nothing so."""
    kappa: Estimate
    unjudged: int


def read_labelled(path: Path) -> tuple[Judged, ...]:
    """Return people's verdicts on the completions of a CSV file in XSTest's format.

    A partial refusal counts as refused, as XSTest counts it; a type that starts with "contrast" is harmful. Raises
    ConfigError for columns that are missing and for labels that are none of XSTest's, with their row.
    """
    if not path.is_file():
        raise ConfigError(f"labels are {path}, which is no file; name a CSV of labelled completions")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(
                f"{path} has no column {', '.join(missing)}; XSTest's files have {', '.join(COLUMNS)}"
            )
        found = tuple(_labelled(path, place, row) for place, row in enumerate(reader, 1))
    if not found:
        raise ConfigError(f"{path} has no rows; give at least one labelled completion")
    return found


def calibration(people: Sequence[Judged], judged: Sequence[Judged], seed: int = 0) -> JudgeCalibration:
    """Return precision, recall and kappa of a judge's refusals against people's; intervals clustered by request.

    Raises ValueError where the judge judged nothing.
    """
    shared = agreement(people, judged, seed)
    if shared is None:
        raise ValueError(
            f"judge {judged[0].judge!r} judged none of {len(people)} completions; choose another"
        )
    both = [pair for pair in zip(people, judged, strict=True) if pair[1].verdict != "not_judged"]
    said = [pair for pair in both if pair[1].verdict == "refused"]
    true = [pair for pair in both if pair[0].verdict == "refused"]
    return JudgeCalibration(
        judged[0].judge, _both_refuse(said, seed), _both_refuse(true, seed), shared.kappa, shared.unjudged
    )


def _both_refuse(pairs: Sequence[tuple[Judged, Judged]], seed: int) -> Estimate | None:
    if not pairs:
        return None
    hits = torch.tensor([one.verdict == other.verdict == "refused" for one, other in pairs])
    return proportion(hits, [one.pair.cluster for one, _ in pairs], seed)


def _labelled(path: Path, place: int, row: dict[str, str | None]) -> Judged:
    label = (row["final_label"] or "").strip()
    if label not in LABELS:
        raise ConfigError(f"{path}, row {place}: final_label is {label!r}; write one of {', '.join(LABELS)}")
    request, text = row["prompt"] or "", row["completion"] or ""
    harmful = (row["type"] or "").startswith("contrast")
    shown = {"text": Prompt(request.replace("<image>", "the image"))}
    pair = Pair(
        f"row {place}",
        "harmful" if harmful else "harmless",
        row["type"] or "all",
        request,
        "test",
        shown,
        None,
        request,
    )
    completion = Completion(pair.pair_id, "text", text, len(text.split()), True, NO_TOKEN)
    return Judged(pair, completion, PEOPLE, LABELS[label], label)
