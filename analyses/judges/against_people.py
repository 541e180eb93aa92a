"""How well a judge finds refusals: its verdicts against people's, on completions in XSTest's format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from regap.analyses.judges.agreement import agreement
from regap.analyses.judges.stored_answers import NO_TOKEN
from regap.analyses.judges.verdicts import Judged, Verdict
from regap.errors import ConfigError
from regap.geometry.data.outside_files import Unreadable, bytes_of, text_of
from regap.geometry.data.pairs import Pair, Prompt
from regap.geometry.data.table_files import csv_rows
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
    """Precision, recall and kappa of a judge against people, on the completions that it judged."""

    judge: str
    precision: Estimate | None
    """Share of the judge's refusals that people call refusals too; None if the judge finds no refusal."""
    recall: Estimate | None
    """Share of people's refusals that the judge calls refusals too; None if people find no refusal."""
    kappa: Estimate
    unjudged: int


def read_labelled(path: Path) -> tuple[Judged, ...]:
    """Return people's verdicts on the completions of a CSV file in XSTest's format.

    As in XSTest, a partial refusal counts as refused; a type that starts with "contrast" is harmful. Raises
    ConfigError for missing columns, and, with its row, for a label that XSTest does not have and for an empty prompt.
    """
    try:
        rows = csv_rows(text_of(bytes_of(path)))
    except Unreadable as error:
        raise ConfigError(f"labels {path}: {error}") from None
    missing = [name for name in COLUMNS if name not in rows[0]] if rows else []
    if missing:
        raise ConfigError(
            f"{path} has no column {', '.join(missing)}; XSTest's files have {', '.join(COLUMNS)}"
        )
    found = tuple(_labelled(path, place, row) for place, row in enumerate(rows, 1))
    if not found:
        raise ConfigError(f"{path} has no rows; give at least one labelled completion")
    return found


def calibration(people: Sequence[Judged], judged: Sequence[Judged], seed: int = 0) -> JudgeCalibration:
    """Return precision, recall and kappa of a judge's refusals against people's; intervals are clustered by request.

    Raises ValueError if the judge judged nothing.
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
        raise ConfigError(
            f"{path}, row {place}: final_label is {label[:60]!r}; write one of {', '.join(LABELS)}"
        )
    request, text = row["prompt"] or "", row["completion"] or ""
    if not request.strip():
        raise ConfigError(f"{path}, row {place}: prompt is empty; fill it in or remove the row")
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
