"""The page of a pack that people read; what came from outside is escaped in it."""

import html
import re

from regap.interventions.pack_card import Card, Outcome

USE = """```python
from regap.interventions import protected

with protected(model, "THIS_FOLDER"):        # a plain Hugging Face model
    model.generate(**inputs)
```"""
SHOWN = ("attack_success", "refusal", "over_refusal", "utility")


def readme(card: Card) -> str:
    """Return the pack's README.md: what it is for, what it does, what was measured, how to use it."""
    model, source = card.model, card.source
    return "\n".join(
        [
            f"# Correction pack for {escaped(card.name)}",
            "",
            "Removes the drift that images put into the residual stream, so that what is refused as text is refused "
            "as an image too. The numbers below are of this model, these pairs and this number format alone.",
            "",
            USE,
            "",
            f"- **Model:** {escaped(model.architecture)}, {model.blocks} blocks, width {model.width}, "
            f"{escaped(model.dtype)}, revision {escaped(model.revision or 'none')}, weights {escaped(model.weights)}",
            f"- **Correction:** {_correction(card)}",
            f"- **Chosen on:** arm {escaped(source.image_arm)} of {source.pairs} pairs "
            f"({escaped(source.pairs_sha256[:16])}…), false refusals allowed {source.false_refusals:g}, "
            f"seed {source.seed}",
            f"- **Versions:** {escaped(', '.join(f'{name} {number}' for name, number in source.versions.items()))}",
            "",
            *_table(card),
            "",
        ]
    )


def escaped(text: str) -> str:
    """Return one line of text that neither Markdown nor HTML takes for more than text."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(flat))


def _correction(card: Card) -> str:
    known = card.correction
    where = f"layers {_list(known.site.layers)}, {known.site.positions}, {known.site.phase}, norm {known.site.norm}"
    if known.gate is None:
        return f"fixed, {known.strength:g} × {escaped(known.part)} at {escaped(where)}"
    gate = known.gate
    return (
        f"gated, up to {known.strength:g} × {escaped(known.part)} at {escaped(where)}; {gate.kind} gate on "
        f"{escaped(gate.signal)} at layers {_list(gate.read_layers)}, threshold {gate.threshold:.6g}"
    )


def _list(layers: tuple[int, ...]) -> str:
    return ", ".join(str(layer) for layer in layers)


def _table(card: Card) -> list[str]:
    """Outcomes on test pairs, uncorrected beside corrected."""
    found = {(one.arm, one.measure, one.condition): one for one in card.outcomes}
    rows = dict.fromkeys((one.arm, one.measure) for one in card.outcomes if one.measure in SHOWN)
    if not rows:
        return ["No outcome was measured."]
    head = ["| arm | measure | uncorrected | corrected | n |", "|---|---|---|---|---|"]
    return head + [
        f"| {escaped(arm)} | {escaped(measure)} | {_shown(found.get((arm, measure, 'baseline')))} "
        f"| {_shown(found.get((arm, measure, 'corrected')))} | {_n(found, arm, measure)} |"
        for arm, measure in rows
    ]


def _shown(one: Outcome | None) -> str:
    if one is None or one.value is None:
        return "not measured"
    interval = "" if one.low is None or one.high is None else f" [{one.low:.3g}, {one.high:.3g}]"
    return f"{one.value:.3g}{interval}"


def _n(found: dict[tuple[str, str, str], Outcome], arm: str, measure: str) -> int:
    return next(one.n for (of, name, _), one in found.items() if (of, name) == (arm, measure))
