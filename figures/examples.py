"""Examples from a run: requests, and answers before and after the correction."""

import base64
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from regap.analyses.runs.records import RunRecords
from regap.analyses.tables.parquet_files import columns_in, read_sealed_table
from regap.figures.drawing import style

BEFORE = "baseline"
AFTER = ("regap", "fixed")
MOST = 12
HARMFUL_LETTERS, HARMLESS_LETTERS, REQUEST_LETTERS = 60, 240, 120
MOST_PICTURE_BYTES = 200_000
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Example:
    """One item: its request, and its answers before and after a correction."""

    pair_id: str
    label: str
    arm: Markup
    request: str
    picture: str
    """Data URL of the picture; empty if there is none."""
    condition: Markup
    """The correction."""
    answers: tuple[tuple[str, str], ...]
    """(text, verdict) before and after."""


def examples_of(run: RunRecords) -> list[Example]:
    """Return up to a dozen items, changed verdicts first; empty without completions under two conditions.

    Answers to harmful prompts are shortened.
    """
    items = changed_first(run)
    if items is None:
        return []
    prompts = prompt_rows(run)
    return [example(item, prompts) for item in items.head(MOST).to_dict("records")]


def changed_first(run: RunRecords) -> pd.DataFrame | None:
    """One row per item answered before and after, with both verdicts; image arms and changed verdicts first."""
    if not {"completions", "verdicts"} <= set(run.records):
        return None
    completions, verdicts = run.records["completions"].table, run.records["verdicts"].table
    conditions = set(completions["condition"])
    after = next((condition for condition in AFTER if condition in conditions), None)
    if BEFORE not in conditions or after is None:
        return None
    key = ["model", "condition", "arm", "pair_id"]
    judged = completions.merge(verdicts.drop_duplicates(key)[[*key, "label", "verdict"]], on=key)
    halves = [judged[judged["condition"] == condition] for condition in (BEFORE, after)]
    both = halves[0].merge(halves[1], on=["model", "arm", "pair_id", "label"], suffixes=("_before", "_after"))
    if both.empty:
        return None
    both = both.assign(
        after=after, same=both["verdict_before"] == both["verdict_after"], words=both["arm"] == "text"
    ).sort_values(["words", "same", "label", "arm", "pair_id"])
    both["turn"] = both.groupby(["words", "same", "label", "arm"]).cumcount()  # alternates the kinds of items
    return both.sort_values(["turn", "words", "same", "label", "arm", "pair_id"])


def prompt_rows(run: RunRecords) -> dict[tuple[str, str], dict[str, object]]:
    """Return request and picture, if stored, of each pair in each arm, from prompts.parquet."""
    path = run.folder / "prompts.parquet"
    if not path.is_file():
        return {}
    wanted = ["pair_id", "arm", "request", "image_png"]
    columns = [name for name in wanted if name in columns_in(path)]
    if not {"pair_id", "arm"} <= set(columns):
        return {}
    rows = read_sealed_table(path, columns).to_dict("records")
    return {(str(row["pair_id"]), str(row["arm"])): row for row in rows}


def example(item: dict[Any, Any], prompts: dict[tuple[str, str], dict[str, object]]) -> Example:
    """Return one item with the stored parts of its prompt."""
    prompt = prompts.get((str(item["pair_id"]), str(item["arm"])), {})
    letters = HARMFUL_LETTERS if item["label"] == "harmful" else HARMLESS_LETTERS
    answers = tuple(
        (shortened(str(item[f"text_{when}"]), letters), str(item[f"verdict_{when}"]).replace("_", " "))
        for when in ("before", "after")
    )
    return Example(
        str(item["pair_id"]),
        str(item["label"]),
        Markup(style.arm_label(str(item["arm"]))),
        shortened(str(prompt.get("request") or ""), REQUEST_LETTERS),
        picture(prompt.get("image_png")),
        Markup(style.condition_label(str(item["after"]))),
        answers,
    )


def shortened(text: str, letters: int) -> str:
    """Return the text, or its first letters and an ellipsis if it is longer."""
    return text if len(text) <= letters else text[:letters].rstrip() + " …"


def picture(image: object, most_bytes: int = MOST_PICTURE_BYTES) -> str:
    """Return the picture as a data URL; empty if it is not a PNG or too large."""
    if not isinstance(image, bytes) or not image.startswith(PNG) or len(image) > most_bytes:
        return ""
    return "data:image/png;base64," + base64.b64encode(image).decode()
