"""The README's numbers once more, from the weights and the pairs alone: plain Hugging Face, NumPy and SciPy.

    make recompute          # after `make demo`: minutes

Nothing of regap's capture, statistics, edits, generation or judging is used: states are read by PyTorch's own hooks,
prompts of equal length are batched without padding, answers come from `generate`, and an answer is a refusal if it
begins like one of the organism's refusals. From the run are taken its choices (blocks and strength, made on
calibration pairs) and the numbers to compare with. Counts must be equal, other numbers within 1e-6; the exit code is 1
if they are not. ReGap's own recipe is not recomputed.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from plain_model import Plain
from plain_statistics import (
    auroc,
    balanced,
    correlation,
    d_prime,
    interval,
    mean_difference,
    random_vectors,
    resampled,
    usable,
)


class Compared:
    """The numbers of the run beside ours."""

    def __init__(self, run: Path) -> None:
        self.run, self.worst, self.wrong = run, 0.0, 0

    def table(self, name: str, **equal: Any) -> pd.DataFrame:
        """Return rows of the newest table of this name in the run folder."""
        places = [*self.run.glob(f"asked/*/tables/{name}.parquet"), self.run / "tables" / f"{name}.parquet"]
        rows = pd.read_parquet(next(path for path in places if path.is_file()))
        for column, value in equal.items():
            rows = rows[rows[column] == value]
        return rows

    def tell(self, what: str, ours: float, stored: float, is_count: bool = False) -> None:
        """Print both, and note a difference that is too large."""
        off = abs(ours - stored)
        self.worst = self.worst if is_count else max(self.worst, off)
        allowed = 1e-9 if is_count else 1e-6
        self.wrong += not off <= allowed
        told = "" if off <= allowed else "   <- DIFFERS"
        print(f"{what:75} {ours:12.7f} {stored:12.7f} {off:9.1e}{told}", flush=True)

    def tell_all(self, what: str, ours: Sequence[float], row: Any) -> None:
        """Print value, low and high of an estimate beside a row of a table."""
        for name, one in zip(("value", "low", "high"), ours, strict=True):
            self.tell(f"{what}, {name}", one, float(row[name]))


def main(run: Path, random: int) -> int:
    """Recompute, print, and return the exit code."""
    import regap as rg
    from regap.organism.prompts import HeldOut, held_out_pairs

    model = rg.load("organism")
    summary = json.loads((run / "summary.json").read_text())
    pairs = list(held_out_pairs(HeldOut(calibration=150, test_harmful=200, test_harmless=300)))
    plain, compared = Plain(model.hf, model.processor, pairs), Compared(run)
    recompute(plain, compared, summary, random)
    print(f"\nlargest difference but for counts: {compared.worst:.1e}; too large: {compared.wrong}")
    return 1 if compared.wrong else 0


def recompute(plain: Plain, compared: Compared, summary: dict[str, Any], random: int) -> None:
    """Recompute each of the README's numbers."""
    arm, seed = summary["image_arm"], 0
    calibration = [pair for pair in plain.pairs if pair.split == "calibration"]
    test = [pair for pair in plain.pairs if pair.split == "test"]
    harmful_pairs = [pair for pair in test if pair.label == "harmful"]
    harmless_pairs = [pair for pair in test if pair.label == "harmless"]
    fit = np.array([pair.label == "harmful" for pair in calibration])
    harmful = np.array([pair.label == "harmful" for pair in test])
    weights = resampled(harmful, [pair.cluster for pair in test], seed)
    text, image = plain.states("text", calibration), plain.states(arm, calibration)
    r = mean_difference(text, fit)
    r /= np.linalg.norm(r, axis=-1, keepdims=True)
    threshold, drift = (balanced(text, fit) * r).sum(-1), balanced(image, fit) - balanced(text, fit)
    seen = {name: plain.states(name, test) for name in ("text", arm, "blank")}
    z = {name: (states * r).sum(-1) for name, states in seen.items()}
    layer, last = summary["layer"], len(plain.blocks) - 1
    separable = compared.table("separability", condition="baseline", direction="refusal")

    for name, block in ((name, block) for name in z for block in (layer, last)):
        rows = separable[(separable.arm == name) & (separable.layer == block)].set_index("measure")
        compared.tell_all(
            f"d' of {name} at block {block}",
            interval(d_prime(z[name][:, block], harmful, weights)),
            rows.loc["d_prime"],
        )
    claims = compared.table("claims").set_index("claim")
    lost = 1 - d_prime(z[arm][:, layer], harmful, weights) / d_prime(z["text"][:, layer], harmful, weights)
    compared.tell_all("share of d' lost", interval(lost), claims.loc["collapse"])

    block = summary["fixed"]["site"]["layers"][0]
    removed = (block, "last", -summary["fixed"]["strength"] * drift[block])
    outcomes = compared.table("outcomes", arm=arm).set_index(["condition", "measure"]).value
    bare, fixed = plain.refused(arm, harmful_pairs), plain.refused(arm, harmful_pairs, removed)
    compared.tell("images refused", bare.mean(), outcomes["baseline", "refusal"], True)
    compared.tell("images refused, D removed", fixed.mean(), outcomes["fixed", "refusal"], True)
    over = plain.refused(arm, harmless_pairs, removed).mean()
    compared.tell("harmless images refused, D removed", over, outcomes["fixed", "over_refusal"], True)
    told = compared.table("outcomes", arm="text").set_index(["condition", "measure"]).value
    words = plain.refused("text", harmful_pairs)
    compared.tell("texts refused", words.mean(), told["baseline", "refusal"], True)
    after = (plain.states(arm, test, change=removed) * r).sum(-1)
    corrected = compared.table("separability", condition="fixed", direction="refusal", arm=arm, layer=last)
    rows = corrected.set_index("measure")
    compared.tell_all(
        "d' at the last block, D removed",
        interval(d_prime(after[:, last], harmful, weights)),
        rows.loc["d_prime"],
    )
    for name, states in (("", z[arm]), (", D removed", after)):
        source = (
            rows
            if name
            else separable[(separable.arm == arm) & (separable.layer == last)].set_index("measure")
        )
        ours = interval(usable(states[:, last], harmful, weights, threshold[last]))
        compared.tell_all(f"usable separation at the last block{name}", ours, source.loc["usable"])

    across = drift[layer] - (drift[layer] @ r[layer]) * r[layer]
    delta = (seen[arm][harmful, layer] - balanced(text, fit)[layer]) @ across / (across @ across)
    complied = np.array(
        [
            float(said == pair.answer)
            for said, pair in zip(plain.answers(arm, harmful_pairs), harmful_pairs, strict=True)
        ]
    )
    own = resampled(harmful[harmful], [pair.cluster for pair in harmful_pairs], seed)
    found = compared.table("correlations", level="prompt").set_index("y")
    for name, values in (("compliance", complied), ("z", z[arm][harmful, layer])):
        compared.tell_all(
            f"drift across r with {name}", interval(correlation(delta, values, own)), found.loc[name]
        )

    few = harmful_pairs[:100]
    change = plain.refused(arm, few, (block, "last", -drift[block])).mean() - bare[:100].mean()
    compared.tell(
        "refusals gained by removing D, first 100", change, claims.loc["drift_causes", "value"], True
    )
    opened = plain.refused("text", few, (block, "last", drift[block])).mean() - words[:100].mean()
    doses = (
        compared.table("strength", vector="D", measure="refusal", direction="induce").set_index("alpha").value
    )
    compared.tell("refusals of text lost by adding D, first 100", opened, doses[1.0] - doses[0.0], True)
    controls = compared.table("random_vectors", direction="correct").set_index("vector").value
    for number, vector in enumerate(random_vectors(drift, r, random, seed)):
        gained = plain.refused(arm, few, (block, "last", -vector[block])).mean()
        stored = controls[f"random {number}"]
        compared.tell(f"refused after random vector {number}, first 100", gained, stored, True)

    block = int(re.findall(r"Corrected at block (\d+)", claims.loc["self_rectification", "evidence"])[0])
    after = (plain.states(arm, test, change=(block, "last", -drift[block])) * r).sum(-1)
    rho = (after - z[arm])[:, block + 1 :].mean(1)
    open_ = ~np.concatenate([bare, plain.refused(arm, harmless_pairs)]).astype(bool)
    ours = interval(auroc(rho[open_], harmful[open_], weights[:, open_]))
    compared.tell_all("AUROC of rho", ours, claims.loc["self_rectification"])
    _at_image_tokens(
        plain, compared, arm, (calibration, fit), (test, harmful, weights), (r, z[arm], open_, bare)
    )


def _at_image_tokens(
    plain: Plain, compared: Compared, arm: str, fitted: Any, tested: Any, known: Any
) -> None:
    """Recompute the numbers at the image's own tokens, if the run was asked for them."""
    if not list(compared.run.glob("asked/image-tokens*")):
        print("the run was not asked `regap image-tokens`: its numbers are left out")
        return
    (calibration, fit), (test, harmful, weights), (r, z, open_, bare) = fitted, tested, known
    drift = balanced(plain.states(arm, calibration, "image"), fit) - balanced(
        plain.states("text", calibration, "request"), fit
    )
    table = compared.table("image_tokens", arm=arm, condition="image tokens, 1 D").set_index("measure")
    block = int(table.layer.iloc[0])
    removed = (block, "image", -drift[block])
    few = [pair for pair, bad in zip(test, harmful, strict=True) if bad]
    gained = plain.refused(arm, few, removed).mean()
    claims = compared.table("image_token_claims").set_index("claim")
    compared.tell(
        "refusals gained at image tokens", gained - bare.mean(), claims.loc["drift_causes", "value"], True
    )
    late = json.loads((compared.run / "summary.json").read_text())["fixed"]["site"]["layers"][0]
    read = list(range(max(block + 1, late - 2), late + 1))
    after = (plain.states(arm, test, change=removed) * r).sum(-1)
    rho = (after - z)[:, read].mean(1)
    ours = interval(auroc(rho[open_], harmful[open_], weights[:, open_]))
    compared.tell_all("AUROC of rho at image tokens", ours, claims.loc["self_rectification"])


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    given.add_argument("--random", type=int, default=20, help="random vectors to try again")
    asked = given.parse_args()
    torch.set_num_threads(1)
    sys.exit(main(asked.run, asked.random))
