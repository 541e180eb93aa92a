"""Some items of a run side by side: what was asked, and what was answered before and after the correction."""

import base64

import pandas as pd
import pyarrow.parquet as parquet

from regap.analyses.runs.records import RunRecords
from regap.figures.drawing import style
from regap.figures.drawing.page import escaped

BEFORE = "baseline"
AFTER = ("regap", "fixed")
MOST = 12
HARMFUL_LETTERS, HARMLESS_LETTERS, REQUEST_LETTERS = 60, 240, 120
MOST_PICTURE_BYTES = 200_000
PNG = b"\x89PNG\r\n\x1a\n"


def example_table(run: RunRecords) -> str:
    """A table of up to a dozen items whose verdict changed first; in words why not when there are none.

    Completions of harmful prompts are shortened; pictures, where prompts.parquet has them, are blurred.
    """
    items = changed_first(run)
    if items is None:
        return "<p>The run has no completions under two conditions to set side by side.</p>"
    prompts = prompt_rows(run)
    rows = "".join(example_row(item, prompts) for item in items.head(MOST).to_dict("records"))
    after = style.CONDITIONS.get(items["after"].iloc[0], (escaped(items["after"].iloc[0]),))[0]
    return (
        "<p>Items whose verdict the correction changed come first. Completions of harmful prompts are cut short; "
        "click a picture to see it.</p>"
        '<div class="wide"><table class="examples"><tr><th>item</th><th>prompt</th><th>no correction</th>'
        f"<th>{after}</th></tr>{rows}</table></div>"
    )


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
    both["turn"] = both.groupby(
        ["words", "same", "label", "arm"]
    ).cumcount()  # so that no kind fills the table
    return both.sort_values(["turn", "words", "same", "label", "arm", "pair_id"])


def prompt_rows(run: RunRecords) -> dict[tuple[str, str], dict[str, object]]:
    """What prompts.parquet says of each pair in each arm: the request, and the picture when it is kept."""
    path = run.folder / "prompts.parquet"
    if not path.is_file():
        return {}
    wanted = ["pair_id", "arm", "request", "image_png"]
    columns = [name for name in wanted if name in parquet.read_schema(path).names]
    if not {"pair_id", "arm"} <= set(columns):
        return {}
    rows = parquet.read_table(path, columns=columns).to_pylist()
    return {(str(row["pair_id"]), str(row["arm"])): row for row in rows}


def example_row(item: dict[str, object], prompts: dict[tuple[str, str], dict[str, object]]) -> str:
    """One item as a row of the table."""
    prompt = prompts.get((str(item["pair_id"]), str(item["arm"])), {})
    letters = HARMFUL_LETTERS if item["label"] == "harmful" else HARMLESS_LETTERS
    request = escaped(shortened(str(prompt.get("request") or ""), REQUEST_LETTERS))
    answers = "".join(
        f"<td>{escaped(shortened(str(item[f'text_{when}']), letters))}"
        f'<span class="verdict">{escaped(str(item[f"verdict_{when}"]).replace("_", " "))}</span></td>'
        for when in ("before", "after")
    )
    return (
        f"<tr><td>{escaped(item['pair_id'])}<span class='verdict'>{escaped(item['label'])}, "
        f"{style.arm_label(str(item['arm']))}</span></td><td>{request}{picture(prompt.get('image_png'))}</td>{answers}</tr>"
    )


def shortened(text: str, letters: int) -> str:
    """The text, or its first letters and an ellipsis."""
    return text if len(text) <= letters else text[:letters].rstrip() + " …"


def picture(image: object) -> str:
    """A blurred picture in the page itself; nothing for what is no PNG or is too large."""
    if not isinstance(image, bytes) or not image.startswith(PNG) or len(image) > MOST_PICTURE_BYTES:
        return ""
    data = base64.b64encode(image).decode()
    return (
        '<button class="picture" type="button" aria-label="show or blur the picture">'
        f'<img alt="the prompt\'s picture, blurred" src="data:image/png;base64,{data}"></button>'
    )
