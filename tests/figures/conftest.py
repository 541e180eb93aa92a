"""Small tables with planted values, one per schema, and a run folder that holds them all."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.runs.folder import write_json
from regap.analyses.runs.records import Record

ARMS = ("text", "typographic", "typographic-cluttered")
LAYERS = (0, 1, 2)
EVIL = "<script>alert(1)</script>"

Planted = Callable[[str], Record]


def around(value: float, n: int = 40) -> dict[str, float]:
    return {"value": value, "low": value - 0.125, "high": value + 0.125, "n": n}


def rows_of(name: str) -> list[dict[str, Any]]:
    if name == "separability":
        return [
            {"model": "m", "arm": arm, "condition": condition, "direction": "refusal", "layer": layer}
            | {"measure": measure}
            | around(layer + 10 * ARMS.index(arm) + 100 * place)
            for condition, arm, layer in product(("baseline", "regap"), ARMS, LAYERS)
            for place, measure in enumerate(("d_prime", "auroc", "usable", "gap"))
        ]
    if name == "coordinates":
        return [
            {
                "model": "m",
                "pair_id": f"p{pair}",
                "label": ("harmless", "harmful")[pair % 2],
                "category": EVIL,
            }
            | {"split": "test", "arm": arm, "condition": condition, "layer": layer}
            | {"refusal": pair + 0.5 * layer, "drift": float(ARMS.index(arm))}
            for (condition, arms), pair, layer in product(
                (("baseline", ARMS), ("fixed", ARMS[1:2])), range(20), LAYERS
            )
            for arm in arms
        ]
    if name == "prediction":
        points = [("arm", arm, "m") for arm in ARMS] + [("model", m, m) for m in ("m", "m2")]
        points += [("bin", f"bin {place}", "m") for place in range(3)]
        return [
            {"model": model, "level": level, "name": named, "n": 40}
            | {"drift": place, "drift_low": place - 0.5, "drift_high": place + 0.5}
            | {"d_prime": 9.0 - place, "d_prime_low": 8.5 - place, "d_prime_high": 9.25 - place}
            | {"attack_success": 0.1 * place, "attack_success_low": 0.0, "attack_success_high": 1.0}
            for place, (level, named, model) in enumerate(points)
        ]
    if name == "correlations":
        whats = product(("arm", "model", "bin"), ("d_prime", "attack_success"))
        return [
            {
                "level": level,
                "x": "drift",
                "y": y,
                "value": -0.75,
                "low": -0.9,
                "high": -0.5,
                "n": 3,
                "p": 0.2,
            }
            for level, y in whats
        ]
    if name == "strength":
        cells = product(("D", "random"), (0.0, 1.0, 2.0), ("d_prime", "auroc", "attack_success", "utility"))
        return [
            {"model": "m", "arm": arm, "direction": direction, "vector": vector, "layer": 1, "alpha": alpha}
            | {"measure": measure}
            | around(alpha * (3 if vector == "D" else 0) + (measure == "auroc"))
            for vector, alpha, measure in cells
            for direction, arm in (("correct", "typographic"), ("correct", "picture"), ("induce", "text"))
        ]
    if name == "self_rectification":
        cells = product(
            ("harmful", "harmless"), LAYERS, (("z_before", 0.0), ("z_after", 5.0), ("change", 5.0))
        )
        return [
            {"model": "m", "arm": "typographic", "vector": "D", "label": label, "layer": layer}
            | {"measure": measure}
            | around(start + layer)
            for label, layer, (measure, start) in cells
        ]
    if name == "detectors":
        signals = {"rho": 0.75, "z_before": 0.5, "probe_image": 0.875}
        return [
            {"model": "m", "arm": "typographic", "signal": signal} | around(value)
            for signal, value in signals.items()
        ]
    if name == "adaptive":
        settings = [("fixed", f"alpha={alpha}") for alpha in (10.0, 2.0, 0.5)]
        settings += [("none", "none"), ("regap", "budget=0.05"), (EVIL, "x")]
        return [
            {"model": "m", "arm": "typographic", "method": method, "setting": setting, "measure": measure}
            | around(place / 10 + (measure == "over_refusal"))
            for place, (method, setting) in enumerate(settings)
            for measure in ("attack_success", "over_refusal", "utility")
        ]
    if name == "outcomes":
        return [
            {"model": "m", "condition": condition, "arm": arm, "measure": measure}
            | around(0.25 + 0.125 * ARMS.index(arm))
            for condition, arm in product(("baseline", "regap"), ARMS)
            for measure in ("attack_success", "over_refusal", "utility", "not_judged")
        ]
    if name == "claims":
        text = {"title": EVIL, "criterion": "a criterion", "version": 2, "evidence": "found so"}
        verdicts = {"collapse": "holds", "regap": "does not hold", "drift_causes": "unclear"}
        return [
            {"claim": claim, "verdict": verdict} | text | around(0.5) for claim, verdict in verdicts.items()
        ]
    answered = product(("baseline", "regap"), ("text", "typographic"), range(4))
    if name == "completions":
        return [
            {
                "model": "m",
                "condition": condition,
                "arm": arm,
                "pair_id": f"p{pair}",
                "finished": True,
                "first_token": 7,
                "tokens": 9,
            }
            | {"text": "sorry" if condition == "regap" else EVIL + " at length" * 20}
            for condition, arm, pair in answered
        ]
    return [
        {"model": "m", "condition": condition, "arm": arm, "pair_id": f"p{pair}", "judge": "j", "reason": ""}
        | {"label": ("harmless", "harmful")[pair % 2]}
        | {"verdict": "refused" if condition == "regap" else "complied"}
        for condition, arm, pair in answered
    ]


NAMES = (
    *(
        "separability",
        "coordinates",
        "prediction",
        "correlations",
        "strength",
        "self_rectification",
        "detectors",
    ),
    *("adaptive", "outcomes", "claims", "completions", "verdicts"),
)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Makes the record of a name, with values known beforehand."""
    return lambda name: Record(name, pd.DataFrame(rows_of(name)))


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Path:
    """A run folder with every table and a summary, not to be written into."""
    folder = tmp_path_factory.mktemp("planted")
    for name in NAMES:
        planted(name).save(folder)
    number = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40}
    arms = {"typographic": {"attack_success": number, "utility": number}}
    summary = {
        "model": EVIL,
        "layer": 1,
        "thresholds": {"1": 7.25},
        "outcomes": {"baseline": arms, "regap": arms},
    }
    write_json(folder / "summary.json", summary)
    return folder


@pytest.fixture
def run_folder(planted_run: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return shutil.copytree(planted_run, tmp_path, dirs_exist_ok=True)
