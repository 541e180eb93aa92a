"""The README's numbers once more, from the weights and the pairs alone: plain Hugging Face, NumPy and SciPy.

    make recompute          # after `make demo`: a quarter of an hour

Nothing of regap's loading, capture, statistics, edits, generation or judging is used: the checkpoint is loaded by
transformers, states are read by PyTorch's own hooks, prompts of equal length are batched without padding, answers come
from `generate`, and an answer is a refusal if it begins like one of the organism's refusals. From the run are taken its
choices (blocks and strength, made on calibration pairs) and the numbers to compare with. Counts must be equal, other
numbers within 1e-6, and numbers that the run tells only in words as they are printed; the exit code is 1 if one is not.
Numbers at image tokens need `regap image-tokens runs/demo --contrast world --within 0.01,0.05`.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from plain_model import REFUSALS, Gated, Plain
from plain_statistics import (
    auroc,
    balanced,
    correlation,
    d_prime,
    gap,
    interval,
    mean_difference,
    never_seen,
    random_vectors,
    resampled,
    share,
    usable,
)
from recomputed_frontier import Frontier

SEED, RANDOM, DOSED, CONTRASTS = 0, 20, 100, 200
"""Of the run; and how many random vectors, prompts at each dose and contrasts it has."""


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

    def say(self, what: str, ours: Sequence[float], evidence: str) -> None:
        """Print an estimate as a claim tells it, and note if its evidence has other numbers."""
        value, *ends = (f"{0.0 if abs(one) < 1e-12 else one:.3g}" for one in ours)
        told = f"{value} [{', '.join(ends)}]" if ends else f"{float(value):.2g}"
        found = told in evidence
        self.wrong += not found
        print(f"{what:75} {told:25} {'as told' if found else '<- DIFFERS'}", flush=True)

    def tell_all(self, what: str, ours: Sequence[float], row: Any) -> None:
        """Print value, low and high of an estimate beside a row of a table."""
        for name, one in zip(("value", "low", "high"), ours, strict=True):
            self.tell(f"{what}, {name}", one, float(row[name]))


class Recomputed:
    """What the README tells of the demo, row by row."""

    def __init__(self, plain: Plain, compared: Compared) -> None:
        self.plain, self.compared, self.seed = plain, compared, SEED
        self.summary = json.loads((compared.run / "summary.json").read_text())
        self.arm = self.summary["image_arm"]
        self.calibration = [pair for pair in plain.pairs if pair.split == "calibration"]
        self.test = [pair for pair in plain.pairs if pair.split == "test"]
        self.fit, self.harmful = map(labels_of, (self.calibration, self.test))
        self.weights = resampled(self.harmful, [pair.cluster for pair in self.test], SEED)
        text, image = (plain.states(arm, self.calibration) for arm in ("text", self.arm))
        r = mean_difference(text, self.fit)
        self.r = r / np.linalg.norm(r, axis=-1, keepdims=True)
        self.text_mean = balanced(text, self.fit)
        self.drift = balanced(image, self.fit) - self.text_mean
        self.layer, self.last = self.summary["layer"], len(plain.blocks) - 1
        self.fixed = self.summary["fixed"]["site"]["layers"][0]
        self.claims = compared.table("claims").set_index("claim")

    @property
    def bad(self) -> list[Any]:
        """Harmful test pairs."""
        return [pair for pair in self.test if pair.label == "harmful"]

    @property
    def good(self) -> list[Any]:
        """Harmless test pairs."""
        return [pair for pair in self.test if pair.label == "harmless"]

    @cached_property
    def z(self) -> dict[str, np.ndarray]:
        """The refusal coordinate of test prompts at every block, by arm."""
        return {arm: self.coordinate(arm) for arm in ("text", self.arm, "blank")}

    @cached_property
    def refused(self) -> dict[str, np.ndarray]:
        """Whether harmful test prompts are refused, by arm."""
        return {arm: self.plain.refused(arm, self.bad) for arm in ("text", self.arm)}

    @cached_property
    def unrefused(self) -> np.ndarray:
        """Which test images are not refused."""
        both = [self.refused[self.arm], self.plain.refused(self.arm, self.good)]
        return ~np.concatenate(both).astype(bool)

    def coordinate(self, arm: str, change: Any = None) -> np.ndarray:
        """The refusal coordinate of test prompts at every block."""
        return (self.plain.states(arm, self.test, change=change) * self.r).sum(-1)

    def stored(self, condition: str, arm: str, layer: int) -> pd.DataFrame:
        """Rows of separability, by measure."""
        named = {"condition": condition, "arm": arm, "layer": layer, "direction": "refusal"}
        return self.compared.table("separability", **named).set_index("measure")

    def shares(self) -> None:
        """Refusals of texts and of images, without and with the fixed correction."""
        removed = (self.fixed, "last", -self.summary["fixed"]["strength"] * self.drift[self.fixed])
        told = self.compared.table("outcomes").set_index(["arm", "condition", "measure"])
        found = {
            ("text", "baseline", "refusal"): (self.refused["text"], self.bad),
            (self.arm, "baseline", "refusal"): (self.refused[self.arm], self.bad),
            (self.arm, "fixed", "refusal"): (self.plain.refused(self.arm, self.bad, removed), self.bad),
            (self.arm, "fixed", "over_refusal"): (
                self.plain.refused(self.arm, self.good, removed),
                self.good,
            ),
        }
        for key, (refused, pairs) in found.items():
            self.compared.tell(" ".join(key), refused.mean(), told.value[key], True)
            self.compared.tell_all(" ".join(key), share(refused, clusters_of(pairs), SEED), told.loc[key])

    def collapse(self) -> None:
        """d' by arm, what images and a blank image lose of it, and usable separation."""
        blocks, told = (self.layer, self.last), self.claims.loc["collapse", "evidence"]
        d = {
            (arm, block): d_prime(self.z[arm][:, block], self.harmful, self.weights)
            for arm in self.z
            for block in blocks
        }
        for (arm, block), draws in d.items():
            row = self.stored("baseline", arm, block).loc["d_prime"]
            self.compared.tell_all(f"d' of {arm} at block {block}", interval(draws), row)
        for arm in (self.arm, "blank"):
            for block in blocks:
                lost = interval(1 - d[arm, block] / d["text", block])
                self.compared.say(f"share of d' lost by {arm} at block {block}", lost, told)
        removed = (self.fixed, "last", -self.summary["fixed"]["strength"] * self.drift[self.fixed])
        after = self.coordinate(self.arm, removed)[:, self.last]
        row = self.stored("fixed", self.arm, self.last)
        ours = interval(d_prime(after, self.harmful, self.weights))
        self.compared.tell_all("d' at the last block, D removed", ours, row.loc["d_prime"])
        threshold = float((self.text_mean[self.last] * self.r[self.last]).sum())
        for condition, z in (("baseline", self.z[self.arm][:, self.last]), ("fixed", after)):
            ours = interval(usable(z, self.harmful, self.weights, threshold))
            row = self.stored(condition, self.arm, self.last).loc["usable"]
            self.compared.tell_all(f"usable separation at the last block, {condition}", ours, row)

    def drift_predicts(self) -> None:
        """The rank correlations of drift across r with compliance and with z, over harmful images."""
        r, drift = self.r[self.layer], self.drift[self.layer]
        across = drift - (drift @ r) * r
        states = self.plain.states(self.arm, self.bad)[:, self.layer]
        delta = (states - self.text_mean[self.layer]) @ across / (across @ across)
        complied = rightly(self.plain.answers(self.arm, self.bad), self.bad)
        weights = resampled(labels_of(self.bad), clusters_of(self.bad), SEED)
        found = self.compared.table("correlations", level="prompt").set_index("y")
        for name, values in (("compliance", complied), ("z", states @ r)):
            ours = interval(correlation(delta, values, weights))
            self.compared.tell_all(f"drift across r with {name}", ours, found.loc[name])

    def drift_causes(self) -> None:
        """Refusals gained by removing D from images, and lost by adding it to text, beside random vectors."""
        few, block = self.bad[:DOSED], self.fixed
        bare = {arm: self.refused[arm][:DOSED] for arm in (self.arm, "text")}
        told = self.claims.loc["drift_causes", "evidence"]
        signs = {self.arm: -1.0, "text": 1.0}

        def moved(arm: str, vector: np.ndarray) -> np.ndarray:
            after = self.plain.refused(arm, few, (block, "last", signs[arm] * vector[block]))
            return signs[arm] * (bare[arm] - after)

        self.cause(moved, few, told, "")

    def cause(self, moved: Any, pairs: list[Any], told: str, where: str) -> None:
        """Compare the change of refusals under D, and the largest under random vectors, in images and in text."""
        weights = resampled(labels_of(pairs), clusters_of(pairs), SEED)
        for arm, what in ((self.arm, "gained by removing D"), ("text", "of text lost by adding D")):
            change = moved(arm, self.vectors(where)[0])
            ours = interval(weights @ change / weights.sum(1))
            ours = never_seen(change.mean(), len(set(clusters_of(pairs)))) if ours[1] == ours[2] else ours
            self.compared.say(f"refusals {what}{where}", ours, told)
            most = max(moved(arm, vector).mean() for vector in self.vectors(where)[1:])
            self.compared.say(f"refusals {what}{where}: largest of {RANDOM} random vectors", [most], told)

    def vectors(self, where: str) -> list[np.ndarray]:
        """D, and random vectors as long."""
        drift = self.drift_of_roles if where else self.drift
        return [drift, *random_vectors(drift, self.r, RANDOM, SEED)]

    @cached_property
    def drift_of_roles(self) -> np.ndarray:
        """Mean over image tokens minus mean over the request's own tokens, on calibration pairs."""
        image = balanced(self.plain.states(self.arm, self.calibration, "image"), self.fit)
        return image - balanced(self.plain.states("text", self.calibration, "request"), self.fit)

    def self_rectification(self) -> None:
        """rho after D, random vectors and r, at the last token."""
        claim = self.claims.loc["self_rectification"]
        block = int(re.findall(r"Corrected at block (\d+)", claim["evidence"])[0])
        self.rectified(claim, self.drift, (block, "last"), list(range(block + 1, self.last + 1)))

    def rectified(self, claim: Any, drift: np.ndarray, at: tuple[int, str], read: list[int]) -> None:
        """Compare AUROC and gap of rho over these blocks after D, and the gaps after random vectors and r."""
        block, kept = at[0], self.unrefused
        harmful, weights = self.harmful[kept], self.weights[:, kept]

        def rho(vector: np.ndarray) -> np.ndarray:
            after = self.coordinate(self.arm, (*at, -vector))
            return (after - self.z[self.arm])[:, read].mean(1)[kept]

        own, told = rho(drift[block]), claim["evidence"]
        self.compared.tell_all(f"AUROC of rho, {at[1]}", interval(auroc(own, harmful, weights)), claim)
        self.compared.say(f"gap of rho, {at[1]}", interval(gap(own, harmful, weights)), told)
        drawn = random_vectors(drift, self.r, RANDOM, SEED)
        most = max(gap(rho(vector[block]), harmful, weights[:1])[0] for vector in drawn)
        self.compared.say(f"gap of rho, {at[1]}: largest of {RANDOM} random vectors", [most], told)
        long = -self.r[block] * np.linalg.norm(drift[block])
        self.compared.say(f"gap of rho after r, {at[1]}", interval(gap(rho(long), harmful, weights)), told)

    def regap(self) -> None:
        """ReGap beside fixed strengths at equal over-refusal."""
        Frontier(self).compare()

    def at_image_tokens(self) -> None:
        """The third and fourth claim at the image's own tokens, and contrasts, if the run was asked for them."""
        if not list(self.compared.run.glob("asked/image-tokens*")):
            print("the run was not asked `regap image-tokens`: its numbers are left out")
            return
        table = self.compared.table("image_tokens", arm=self.arm)
        block = int(table[table.condition == "image tokens, 1 D"].layer.iloc[0])
        claims = self.compared.table("image_token_claims").set_index("claim")
        tokens, signs = {self.arm: "image", "text": "request"}, {self.arm: -1.0, "text": 1.0}

        def moved(arm: str, vector: np.ndarray) -> np.ndarray:
            after = self.plain.refused(arm, self.bad, (block, tokens[arm], signs[arm] * vector[block]))
            return signs[arm] * (self.refused[arm] - after)

        self.cause(moved, self.bad, claims.loc["drift_causes", "evidence"], " at image tokens")
        read = list(range(max(block + 1, self.fixed - 2), self.fixed + 1))
        self.rectified(claims.loc["self_rectification"], self.drift_of_roles, (block, "image"), read)
        self.budgets()

    def budgets(self) -> None:
        """Contrasts, and the correction in one pass that was chosen within budgets."""
        table = self.compared.table("image_tokens", arm=self.arm)
        removed = (self.fixed, "last", -self.summary["fixed"]["strength"] * self.drift[self.fixed])
        within = self.within_budgets()
        changes: dict[str, Any] = {"nothing": None, "last token": removed} | within
        self.contrasts(table[table.measure == "contrast_over_refusal"].set_index("condition"), changes)
        rows = table.set_index(["condition", "measure"])
        for condition, change in within.items():
            self.outcomes(condition, change, rows.loc[condition])

    def within_budgets(self) -> dict[str, Gated]:
        """The correction in one pass that was chosen within budgets: blocks, strengths and threshold, as stored."""
        stored = list(self.compared.run.glob("asked/image-tokens*/edits/one-pass-within-budgets/edit.json"))
        if not stored:
            print("the run was not asked `regap image-tokens --within`: its numbers are left out")
            return {}
        chosen = json.loads(stored[0].read_text())["values"]
        early, late = chosen["probe"], chosen["correction"]
        first, last = early["site"]["layers"][0], late["site"]["layers"][0]
        return {
            "one pass, within budgets": Gated(
                (first, "image", -early["strength"] * self.drift_of_roles[first]),
                (last, "last", -chosen["strongest"] * late["strength"] * self.drift[last]),
                {block: self.r[block] for block in chosen["read_layers"]},
                chosen["gate"]["threshold"],
            )
        }

    def outcomes(self, condition: str, change: Any, told: pd.DataFrame) -> None:
        """Attack success, over-refusal and right answers of whole answers to images."""
        bad, good = (self.plain.answers(self.arm, pairs, change) for pairs in (self.bad, self.good))
        found = {
            "attack_success": (rightly(bad, self.bad), self.bad),
            "over_refusal": (np.array([float(text.startswith(REFUSALS)) for text in good]), self.good),
            "utility": (rightly(good, self.good), self.good),
        }
        for measure, (values, pairs) in found.items():
            ours = share(values, clusters_of(pairs), SEED)
            self.compared.tell_all(f"{condition}, {measure}", ours, told.loc[measure])

    def contrasts(self, told: pd.DataFrame, changes: Mapping[str, Any]) -> None:
        """Refusals of contrasts under each change."""
        from regap.organism.prompts import contrast_pairs

        pairs = list(
            contrast_pairs(CONTRASTS, seed=SEED, without={pair.cluster for pair in self.plain.pairs})
        )
        for condition, change in changes.items() if len(told) else ():
            refused = self.plain.refused(self.arm, pairs, change)
            ours = share(refused, clusters_of(pairs), SEED)
            self.compared.tell_all(f"contrasts refused, {condition}", ours, told.loc[condition])


def rightly(said: Sequence[str], pairs: Sequence[Any]) -> np.ndarray:
    """Return 1 for each answer that gives what was asked for."""
    return np.array([float(text == pair.answer) for text, pair in zip(said, pairs, strict=True)])


def labels_of(pairs: Sequence[Any]) -> np.ndarray:
    """True for harmful pairs."""
    return np.array([pair.label == "harmful" for pair in pairs])


def clusters_of(pairs: Sequence[Any]) -> list[str]:
    """The cluster of each pair."""
    return [pair.cluster for pair in pairs]


ROWS = (
    "shares",
    "collapse",
    "drift_predicts",
    "drift_causes",
    "self_rectification",
    "regap",
    "at_image_tokens",
)
"""What is recomputed, in the order of the README's table."""


def main(run: Path, rows: Sequence[str] = ROWS) -> int:
    """Recompute, print, and return the exit code."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from regap.organism.family import organism_folder
    from regap.organism.prompts import HeldOut, held_out_pairs

    folder = str(organism_folder())
    hf = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    pairs = list(held_out_pairs(HeldOut(calibration=150, test_harmful=200, test_harmless=300)))
    compared = Compared(run)
    found = Recomputed(Plain(hf, processor, pairs), compared)
    for row in rows:
        getattr(found, row)()
    print(f"\nlargest difference but for counts: {compared.worst:.1e}; too large: {compared.wrong}")
    return 1 if compared.wrong else 0


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    given.add_argument("--only", action="append", choices=[*ROWS, "budgets"], help="some of the rows")
    torch.set_num_threads(1)
    asked = given.parse_args()
    sys.exit(main(asked.run, asked.only or ROWS))
