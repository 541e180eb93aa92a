"""The report of a run: one page that works offline, with claims, figures, examples and provenance."""

import json
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Interval, RunRecords
from regap.figures.drawing import style
from regap.figures.drawing.style import criteria_of
from regap.figures.examples import Example, examples_of
from regap.figures.gallery import DrawnFigure, draw_all, part_of
from regap.figures.opened_run import in_words
from regap.geometry.files import write_whole

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""All text of a run is escaped; only figures and plotly.js are inserted as markup."""
BADGES = {"holds": "good", "does not hold": "bad", "unclear": "open"}
MEASURES = ("attack_success", "over_refusal", "utility")


def write_report(run_folder: Path | str) -> Path:
    """Write RUN/report.html from the run's tables, summary, configuration and provenance.

    The page needs no network, since it contains plotly.js. All text of the run is escaped, pictures are blurred until
    clicked, and answers to harmful prompts are shortened. A figure that cannot be drawn is replaced by the reason.
    """
    run = RunRecords.load(run_folder)
    figures, questions = draw_all(run), questions_of(run.folder)
    examples, no_examples = examples_or_why_not(run)
    claims, elsewhere = run.records.get("claims"), run.records.get("image_token_claims")
    page = TEMPLATES.get_template("report.html").render(
        model=run.summary.model or "a run without a summary",
        plotly=Markup(get_plotlyjs()),
        contents=[
            ("claims", "The five claims"),
            *((drawn.name, drawn.drawing.heading) for drawn in figures if not drawn.older),
            *([("questions", "Questions asked")] if questions else []),
            ("examples", "Examples"),
            ("method", "Method"),
            ("provenance", "Provenance"),
        ],
        headline=run.summary.text("headline") or headline(run),
        layer=run.summary.layer,
        measures=[style.short(measure) for measure in MEASURES],
        outcomes=outcome_rows(run),
        claims=None if claims is None else list(claims.table.itertuples()),
        claims_elsewhere=[] if elsewhere is None else list(elsewhere.table.itertuples()),
        criteria="" if claims is None else criteria_of(claims.table),
        no_claims=run.unreadable.get("claims", "the run has no table of claims; `regap run` makes it"),
        badges=BADGES,
        sections=[list(group) for _, group in groupby(figures, lambda drawn: drawn.drawing.name)],
        questions=[(in_words(one), ", ".join(one.tables)) for one in questions],
        part_of=figure_part,
        examples=examples,
        no_examples=no_examples,
        provenance=[(name, readable(run.folder / name)) for name in ("provenance.json", "config.toml")],
    )
    return write_whole(run.folder / "report.html", page.encode())


def headline(run: RunRecords) -> str:
    """Return one sentence on attack success in the arm where it is highest."""

    def attack(condition: str, arm: str) -> Interval | None:
        return run.summary.interval("outcomes", condition, arm, "attack_success")

    arms = [arm for arm in run.summary.at("outcomes", "baseline") or {} if attack("baseline", arm)]
    if not arms:
        return ""
    worst = max(arms, key=lambda arm: getattr(attack("baseline", arm), "value", 0.0))
    before, after = attack("baseline", worst), attack("regap", worst)
    said = f"In the {style.ARMS.get(worst, (worst,))[0]} arm, attack success is {percent(before)} without correction"
    return f"{said} and {percent(after)} with ReGap." if after else f"{said}."


def outcome_rows(run: RunRecords) -> list[tuple[Markup, Markup, list[str]]]:
    """Condition, arm, and each measure with its interval, as in the summary."""
    conditions = run.summary.at("outcomes")
    rows = []
    for condition, arms in (conditions if isinstance(conditions, dict) else {}).items():
        for arm in sorted(arms if isinstance(arms, dict) else {}, key=style.arm_order):
            numbers = [run.summary.interval("outcomes", condition, arm, measure) for measure in MEASURES]
            words = Markup(style.condition_label(condition)), Markup(style.arm_label(arm))
            rows.append((*words, [percent(number) for number in numbers]))
    return rows


def percent(number: Interval | None) -> str:
    """A share with its interval, or a dash."""
    if number is None:
        return "–"
    if not (isinstance(number.low, int | float) and isinstance(number.high, int | float)):
        return f"{number.value:.1%}"
    return f"{number.value:.1%} [{number.low:.1%}, {number.high:.1%}]"


def figure_part(drawn: DrawnFigure) -> Markup:
    """The markup of a figure that was drawn."""
    assert drawn.figure is not None
    return Markup(part_of(drawn.figure, f"{drawn.name}-figure"))


def examples_or_why_not(run: RunRecords) -> tuple[list[Example], str]:
    """The examples, and in words why there are none when reading them failed."""
    try:
        return examples_of(run), ""
    except Exception as error:  # an unreadable file must not prevent the report
        return [], f"{type(error).__name__}: {error}"


def readable(path: Path) -> str:
    """Return the text of a file, with JSON indented; a message if it is missing."""
    if not path.is_file():
        return "not in this run folder"
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if path.suffix == ".json" else text
    except ValueError:
        return text
