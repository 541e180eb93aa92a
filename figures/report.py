"""The report of a run: one page that opens offline, with the claims, every figure, examples and provenance."""

import json
from pathlib import Path

from plotly.offline import get_plotlyjs

from regap.analyses.runs.records import Interval, RunRecords
from regap.figures.drawing import style
from regap.figures.drawing.page import STYLE, SWITCH, badge, escaped, section
from regap.figures.drawing.wording import criteria_of
from regap.figures.examples import example_table
from regap.figures.gallery import DrawnFigure, draw_all, part_of
from regap.geometry.files import write_whole

PAPER = "Safety Geometry Collapse in Multimodal LLMs and Adaptive Drift Correction"
METHOD = f"""
<p>The five claims are those of the abstract of <cite>{PAPER}</cite> (arXiv 2605.18104), the only part of the paper
that is public to us. <strong>Every formula here is our operationalisation</strong>, and no number is the paper's.</p>
<p>The residual stream is read at the last prompt token, at the output of each block. The <em>refusal direction</em>
r is the unit vector from the mean harmless to the mean harmful text prompt, on calibration pairs. The
<em>drift</em> D is the mean difference between the same requests shown as images and written as text, harmful and
harmless weighted equally. A prompt's <em>refusal coordinate</em> z is its projection on r; its <em>drift
strength</em> δ is 0 for the average text and 1 for the average image.</p>
<p><em>Separability</em> of harmful from harmless along r is told four ways: the gap of the means, d′ (the gap over
the pooled standard deviation), AUROC, and usable separation (balanced accuracy at the threshold fitted on text).
A <em>fixed correction</em> subtracts α·D from every input alike. <em>Self-rectification</em> ρ is how much further
along r an input moves by itself in the layers after a correction. <em>ReGap</em> chooses α for each input by
passing a signal of those layers (ρ, or z itself) through a gate, whose threshold keeps false refusals of harmless
calibration prompts within a budget.</p>
<p>Intervals are 95 % intervals from a bootstrap that resamples whole clusters of pairs, unless a caption says
otherwise. Refused, complied, degenerate and not judged are four different verdicts.</p>
"""


def write_report(run_folder: Path | str) -> Path:
    """Writes RUN/report.html from the run's tables, summary, configuration and provenance.

    The page needs no network: plotly.js stands in it once. All text of the run is escaped, pictures are blurred
    until clicked, harmful completions are shortened. A figure that cannot be drawn is replaced by the reason.
    """
    run = RunRecords.load(run_folder)
    parts = [
        ("claims", "The five claims", claims(run)),
        *((drawn.drawing.name, drawn.drawing.heading, figure(drawn)) for drawn in draw_all(run)),
        ("examples", "Examples", attempted(run)),
        ("method", "Method", METHOD),
        ("provenance", "Provenance", provenance(run)),
    ]
    contents = "".join(f'<a href="#{name}">{escaped(heading)}</a>' for name, heading, _ in parts)
    body = "".join(section(name, heading, content) for name, heading, content in parts)
    model = escaped(run.summary.model or "a run without a summary")
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>regap: {model}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><nav aria-label="contents"><strong>regap</strong>{contents}</nav>
<main><header><h1>Safety geometry of {model}</h1>{head(run)}</header>{body}</main>
<script>{SWITCH}</script></body></html>
"""
    return write_whole(run.folder / "report.html", page.encode())


def head(run: RunRecords) -> str:
    """The headline sentence and the headline numbers, as far as summary.json has them."""
    sentence = run.summary.text("headline") or headline(run)
    lead = f'<p class="lead">{escaped(sentence)}</p>' if sentence else ""
    layer = run.summary.layer
    chosen = f"<p>Layer {layer}, chosen on calibration data (0-based).</p>" if layer is not None else ""
    return lead + chosen + outcome_numbers(run)


def headline(run: RunRecords) -> str:
    """What happened to attack success in the arm where it was highest, in one sentence."""
    arms = [arm for arm in run.summary.at("outcomes", "baseline") or {} if attack(run, "baseline", arm)]
    if not arms:
        return ""
    worst = max(arms, key=lambda arm: getattr(attack(run, "baseline", arm), "value", 0.0))
    before, after = attack(run, "baseline", worst), attack(run, "regap", worst)
    said = f"In the {style.ARMS.get(worst, (worst,))[0]} arm, attack success is {percent(before)} without correction"
    return f"{said} and {percent(after)} with ReGap." if after else f"{said}."


def attack(run: RunRecords, condition: str, arm: str) -> Interval | None:
    """Attack success of an arm under a condition, as in the summary."""
    return run.summary.interval("outcomes", condition, arm, "attack_success")


def outcome_numbers(run: RunRecords) -> str:
    """A small table: attack success, over-refusal and utility per arm and condition, with intervals."""
    measures = ("attack_success", "over_refusal", "utility")
    conditions = run.summary.at("outcomes")
    rows = []
    for condition, arms in (conditions if isinstance(conditions, dict) else {}).items():
        for arm in sorted(arms if isinstance(arms, dict) else {}, key=style.arm_order):
            numbers = [run.summary.interval("outcomes", condition, arm, measure) for measure in measures]
            name = style.CONDITIONS.get(condition, (escaped(condition),))[0]
            cells = "".join(f"<td>{percent(number)}</td>" for number in numbers)
            rows.append(f"<tr><td>{name}</td><td>{style.arm_label(arm)}</td>{cells}</tr>")
    if not rows:
        return ""
    titles = "".join(f"<th>{style.short(measure)}</th>" for measure in measures)
    return f'<div class="wide"><table><tr><th>condition</th><th>arm</th>{titles}</tr>{"".join(rows)}</table></div>'


def percent(number: Interval | None) -> str:
    """A share with its interval, or a dash."""
    if number is None:
        return "–"
    if not (isinstance(number.low, int | float) and isinstance(number.high, int | float)):
        return f"{number.value:.1%}"
    return f"{number.value:.1%} [{number.low:.1%}, {number.high:.1%}]"


def claims(run: RunRecords) -> str:
    """Each claim with its verdict, the criterion it was held against, and the evidence."""
    if "claims" not in run.records:
        reason = run.unreadable.get("claims", "the run has no table of claims; `regap run` makes it")
        return f'<p class="problem">{escaped(reason)}</p>'
    found = run.records["claims"].table
    return f"<p>{escaped(criteria_of(found))}</p>" + "".join(
        f'<article class="claim"><h3>{badge(row.verdict)} {escaped(row.title)}</h3>'
        f"<p><b>Criterion.</b> {escaped(row.criterion)}</p><p><b>Evidence.</b> {escaped(row.evidence)}</p></article>"
        for row in found.itertuples()
    )


def figure(drawn: DrawnFigure) -> str:
    """A figure with its caption and the command that redraws it, or why it is missing."""
    if drawn.figure is None:
        return f'<p class="problem">No figure: {escaped(drawn.problem)}</p>'
    again = f"regap figures RUN --only {drawn.drawing.name}"
    digests = ", ".join(f"{escaped(name)} {digest[:12]}" for name, digest in drawn.tables.items())
    origin = f" · from {digests}" if digests else ""
    return (
        f"<figure>{part_of(drawn.figure, drawn.drawing.name + '-figure')}"
        f"<figcaption>{escaped(drawn.caption)} <span>Redraw: <code>{again}</code>{origin}</span></figcaption></figure>"
    )


def attempted(run: RunRecords) -> str:
    """The table of examples, or why it is missing."""
    try:
        return example_table(run)
    except Exception as error:  # an odd file beside the tables must not lose the report
        return f'<p class="problem">No examples: {escaped(f"{type(error).__name__}: {error}")}</p>'


def provenance(run: RunRecords) -> str:
    """provenance.json and config.toml of the run, folded away."""
    parts = []
    for name in ("provenance.json", "config.toml"):
        path = run.folder / name
        text = readable(path) if path.is_file() else "not in this run folder"
        parts.append(f"<details><summary>{name}</summary><pre>{escaped(text)}</pre></details>")
    return "".join(parts)


def readable(path: Path) -> str:
    """The text of a file, JSON indented."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if path.suffix == ".json" else text
    except ValueError:
        return text
