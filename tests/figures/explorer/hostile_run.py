"""The tables of a run whose items, answers and reasons are hostile texts."""

import io
from itertools import product

import hostile
import pandas as pd
from PIL import Image

from regap.analyses.live.question import LiveAnswer, LivePicture, LiveQuestion, LiveState

ARMS = ("text", "typographic", "typographic-cluttered")
LAYERS = (0, 1, 2)
IDS = (*hostile.TEXTS, *(f"plain-{place}" for place in range(33)))
CONDITIONS = ("baseline", "fixed", "regap")


def png(colour: str = "white") -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(kept, "PNG")
    return kept.getvalue()


def label_of(place: int) -> str:
    return ("harmless", "harmful")[place % 2]


def coordinates() -> pd.DataFrame:
    """Item `place` lies at δ = place / 10 + its arm, z = place + 10 · layer, one higher for each correction."""
    return pd.DataFrame(
        {"model": "m", "pair_id": name, "label": label_of(place), "category": hostile.IMAGE, "split": "test"}
        | {"arm": arm, "condition": condition, "layer": layer}
        | {
            "refusal": place + 10.0 * layer + CONDITIONS.index(condition),
            "drift": place / 10 + ARMS.index(arm),
        }
        for condition, arm, (place, name), layer in product(CONDITIONS, ARMS, enumerate(IDS), LAYERS)
    )


def answered() -> list[tuple[str, str, int, str]]:
    return [
        (condition, arm, place, name)
        for condition, arm, (place, name) in product(CONDITIONS, ARMS[:2], enumerate(IDS))
    ]


def completions() -> pd.DataFrame:
    return pd.DataFrame(
        {"model": "m", "condition": condition, "arm": arm, "pair_id": name, "tokens": 9, "finished": True}
        | {"first_token": 0}
        | {"text": hostile.TEXTS[place % len(hostile.TEXTS)]}
        for condition, arm, place, name in answered()
    )


def verdicts() -> pd.DataFrame:
    """Corrections turn every tenth item to a refusal; the second judge differs on the item after it."""
    return pd.DataFrame(
        {"model": "m", "condition": condition, "arm": arm, "pair_id": name, "label": label_of(place)}
        | {"judge": judge, "reason": hostile.QUOTES}
        | {
            "verdict": "refused"
            if (place % 10 == 3 and condition != "baseline") or (judge == "second" and place % 10 == 4)
            else "complied"
        }
        for condition, arm, place, name in answered()
        for judge in ("first", "second")
    )


def prompts() -> pd.DataFrame:
    return pd.DataFrame(
        {"pair_id": name, "arm": arm, "label": label_of(place), "category": hostile.IMAGE, "split": "test"}
        | {"request": hostile.TEXTS[place % len(hostile.TEXTS)], "prompt": f"USER: {hostile.SCRIPT} {place}"}
        | {"answer": None, "image_png": png() if arm != "text" else None}
        for (place, name), arm in product(enumerate(IDS), ARMS)
    )


def ablation() -> pd.DataFrame:
    """A block changes z by its layer for harmful prompts, and by nothing for harmless ones."""
    row = {"model": "m", "arm": "typographic", "component": "block", "head": -1, "replacement": "mean"}
    row |= {"control": "none", "positions": "last", "measure": "log_odds", "read_layer": -1, "n": 40}
    return pd.DataFrame(
        {**row, "layers": str(layer), "layer": layer, "label": label}
        | {"value": value, "low": value - 0.125, "high": value + 0.125}
        for layer, (label, times) in product(LAYERS, (("harmful", 1), ("harmless", 0)))
        for value in (float(layer * times),)
    )


class Planted:
    """A model whose answers are hostile texts, and whose z is what was asked of it."""

    def ask(self, question: LiveQuestion) -> LiveAnswer:
        if question.layer > 1:
            raise ValueError(f"layer is {question.layer}; {hostile.SCRIPT}")
        before = LiveState(hostile.IMAGE, "complied", hostile.QUOTES, [0.0, 1.0, 2.0], [1.0, 1.0, 1.0])
        after = LiveState(hostile.SCRIPT, "refused", "said sorry", [0.0, 1.0, 7.0], [1.0, 0.0, 0.0])
        tokens = (hostile.SCRIPT, "<image>", "word")
        said = ("judge", hostile.LINK, before, after, question.strength, 0.1)
        picture = LivePicture(png(), 32, 32, 1, 1)
        return LiveAnswer(
            *said, tokens, (1.0, 2.0, -3.0), (0.0, 0.5, 0.0), (1,), picture, "rho", hostile.SCRIPT
        )
