"""The page of a pack that people read; what came from outside is escaped in it."""

import html
import re

from regap.interventions.packs.card import Outcome, PackCard
from regap.interventions.packs.settings import GateFacts, SiteFacts

USE = """```python
from regap import protected

with protected(model, "THIS_FOLDER"):        # a plain Hugging Face model
    model.generate(**inputs)
```"""
SIGNALS = {
    "rho": "the mean change of z under the probe",
    "z_before": "the mean of z",
    "z_after": "the mean of z",
    "growth": "z at the last layer read minus z at the first",
}
"""In words; the fitted ones are weighted sums of z."""
SHOWN = ("attack_success", "refusal", "over_refusal", "utility")


def readme(card: PackCard) -> str:
    """Return the pack's README.md: what it is for, what it does, what was measured, how to use it."""
    model, source = card.model, card.source
    return "\n".join(
        [
            f"# Correction pack for {escaped(card.name)}",
            "",
            "Removes drift that images put into the residual stream, to bring back refusals of what is refused as "
            "text. What it does is measured below, on this model, these pairs and in this number format alone.",
            "",
            USE,
            "",
            f"- **Model:** {escaped(model.architecture)}, {model.blocks} blocks, width {model.width}, "
            f"{escaped(model.dtype)}, revision {escaped(model.revision or 'none')}, weights {escaped(model.weights)}",
            f"- **Correction:** {_correction(card)}",
            f"- **Chosen on:** arm {escaped(source.image_arm)} of the calibration pairs among {source.pairs} pairs "
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


def _correction(card: PackCard) -> str:
    known, gate = card.correction, card.correction.gate
    taken = f"{known.strength:g} × {escaped(known.part)} at {_where(known.site)}"
    if gate is None:
        return f"fixed, the same for every prompt: {taken} is taken off"
    how = _single(gate) if gate.passes == "single" else _before(gate)
    return (
        f"gated, prompt by prompt. {how} The signal is {SIGNALS.get(gate.signal, 'a fitted, weighted sum of z')} "
        f"({escaped(gate.signal)}), where z is the coordinate along the refusal direction at the last prompt token. As "
        f"far as the gate ({gate.kind}, threshold {gate.threshold:.6g}) is open, up to {taken} is taken off"
    )


def _single(gate: GateFacts) -> str:
    """In words, what happens before the correction in the answer's own pass."""
    first = (
        f"first {_probe(gate)}, is taken off every prompt, and stays off; then "
        if gate.probe.strength
        else ""
    )
    return (
        f"Everything happens in the pass that answers, none comes before it: {first}z is read {_read(gate)}."
    )


def _before(gate: GateFacts) -> str:
    """In words, which passes of the last token come before the answer."""
    before, after = (any(row) for row in gate.weights)
    probed = after and gate.probe.strength != 0
    how = [*(["uncorrected"] if before or not probed else []), *([f"under {_probe(gate)}"] if probed else [])]
    return f"Before the answer z is read {_read(gate)}, {' and '.join(how)}{', which then goes' if probed else ''}."


def _probe(gate: GateFacts) -> str:
    return f"a probe, {gate.probe.strength:g} × {escaped(gate.probe.part)} at {_where(gate.probe.site)}"


def _read(gate: GateFacts) -> str:
    return f"at layers {_list(gate.read_layers)}"


def _where(site: SiteFacts) -> str:
    return escaped(f"layers {_list(site.layers)} ({site.positions}, {site.phase}, norm {site.norm})")


def _list(layers: tuple[int, ...]) -> str:
    return ", ".join(str(layer) for layer in layers)


def _table(card: PackCard) -> list[str]:
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
