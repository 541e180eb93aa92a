"""The schema of every table of a run folder, by name."""

from collections.abc import Mapping

import pandas as pd

from regap.analyses.tables import columns
from regap.analyses.tables.across_schemas import ACROSS
from regap.analyses.tables.columns import (
    BOOLEAN,
    DEGENERATE,
    GAP,
    INTEGER,
    LABEL,
    LEVEL,
    NUMBER,
    OUTCOMES,
    SEPARABILITY,
    TEXT,
    UTILITY,
    VECTOR,
    VERDICT,
    Column,
    Schema,
    claims_of,
    estimates,
    keyed,
    one_of,
)

RUN: Mapping[str, Schema] = {
    "separability": estimates(
        "collapse",
        model=TEXT,
        arm=TEXT,
        condition=TEXT,
        direction=one_of("refusal", "probe_text", "probe_image"),
        layer=INTEGER,
        measure=one_of(*SEPARABILITY),
    ),
    "drift": estimates(
        "collapse",
        model=TEXT,
        arm=TEXT,
        layer=INTEGER,
        measure=one_of("norm", "relative_norm", "norm_along", "norm_across", "cosine", "class_norm"),
    ),
    "coordinates": Schema(
        {
            **dict.fromkeys(("model", "pair_id"), TEXT),
            "label": LABEL,
            "category": TEXT,
            "split": one_of("calibration", "test"),
            **dict.fromkeys(("arm", "condition"), TEXT),
            "layer": INTEGER,
            "refusal": NUMBER,
            "drift": GAP,
        },
        ("model", "pair_id", "arm", "condition", "layer"),
        "collapse",
    ),
    "completions": keyed(
        "outcomes",
        {
            "text": TEXT,
            "tokens": INTEGER,
            "finished": BOOLEAN,
            "first_token": Column("integer", optional=True),
        },
        **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
    ),
    "verdicts": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "judge": TEXT,
            "verdict": VERDICT,
            "reason": Column("text", optional=True),
        },
        ("model", "condition", "arm", "pair_id", "judge"),
        "outcomes",
    ),
    "outcomes": estimates(
        "outcomes", model=TEXT, condition=TEXT, arm=TEXT, measure=one_of(*OUTCOMES, *DEGENERATE)
    ),
    "read_back": Schema(
        {
            **dict.fromkeys(("model", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "text": Column("text", optional=True),
            "overlap": NUMBER,
            "state": one_of("read", "not_read", "refused", "cut_off"),
        },
        ("model", "arm", "pair_id"),
        "read_back",
    ),
    "outcomes_understood": estimates(
        "read_back", model=TEXT, condition=TEXT, arm=TEXT, measure=one_of(*OUTCOMES, *DEGENERATE)
    ),
    "prediction": Schema(
        {
            "model": TEXT,
            "level": LEVEL,
            "name": TEXT,
            **{
                quantity + end: GAP
                for quantity in ("drift", "d_prime", "attack_success")
                for end in ("", "_low", "_high")
            },
            "n": INTEGER,
        },
        ("model", "level", "name"),
        "drift_predicts",
        tuple((q, q + "_low", q + "_high") for q in ("drift", "d_prime", "attack_success")),
    ),
    "correlations": estimates(
        "drift_predicts", {"p": GAP}, level=one_of("prompt", *LEVEL.values), x=TEXT, y=TEXT
    ),
    "strength": estimates(
        "drift_causes",
        model=TEXT,
        arm=TEXT,
        direction=one_of("correct", "induce"),
        vector=VECTOR,
        layer=INTEGER,
        alpha=NUMBER,
        measure=one_of(*SEPARABILITY, *OUTCOMES, "degenerate_harmless"),
    ),
    "random_vectors": estimates(
        "drift_causes",
        **dict.fromkeys(("model", "arm"), TEXT),
        direction=one_of("correct", "induce"),
        vector=TEXT,
        layer=INTEGER,
        measure=one_of("refusal"),
    ),
    "self_rectification": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        vector=VECTOR,
        label=LABEL,
        layer=INTEGER,
        measure=one_of("z_before", "z_after", "change"),
    ),
    "detectors": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        signal=one_of("rho", "z_before", "z_after", "probe_text", "probe_image"),
    ),
    "rectification_by_block": estimates(
        "self_rectification",
        model=TEXT,
        arm=TEXT,
        vector=VECTOR,
        layer=INTEGER,
        measure=one_of("gap", "auroc"),
    ),
    "recipes": Schema(
        {
            **dict.fromkeys(("model", "arm"), TEXT),
            "budget": NUMBER,
            **dict.fromkeys(("recipe", "signal", "read", "probe", "correction", "passes"), TEXT),
            **dict.fromkeys(("readings", "fitted"), INTEGER),
            **dict.fromkeys(("threshold", "refusal", "over_refusal"), NUMBER),
            "chosen": BOOLEAN,
            "why": Column("text", optional=True),
        },
        ("model", "arm", "budget", "recipe"),
        "calibrate",
    ),
    "frontier": estimates("regap", model=TEXT, arm=TEXT, method=TEXT, over_refusal=NUMBER),
    "advantage": estimates(
        "regap",
        {"low_all": GAP, "high_all": GAP},
        (("value", "low_all", "high_all"),),
        **dict.fromkeys(("model", "arm", "method"), TEXT),
        budget=NUMBER,
        measure=one_of("at_equal_over_refusal", "against_chosen_strength", "over_refusal_change"),
    ),
    "adaptive": estimates(
        "regap", model=TEXT, arm=TEXT, method=TEXT, setting=TEXT, measure=one_of(*OUTCOMES)
    ),
    "gates": Schema(
        {
            **dict.fromkeys(("model", "arm", "method"), TEXT),
            "budget": NUMBER,
            "correction": TEXT,
            **{
                name: Column("text", optional=True)
                for name in ("signal", "read", "weights_before", "weights_after", "probe", "passes")
            },
            "threshold": GAP,
        },
        ("model", "arm", "method", "budget"),
        "regap",
    ),
    "claims": claims_of("claims"),
}

POWER: Mapping[str, Schema] = {
    "operating_characteristics": estimates(
        "power",
        claim=TEXT,
        version=INTEGER,
        world=TEXT,
        truth=one_of("true", "false"),
        **dict.fromkeys(("harmful", "harmless", "doses"), INTEGER),
    ),
}

POSITIONS = ("last", "after_instruction", "image", "audio", "request", "template", "all")
INTERVENTIONS: Mapping[str, Schema] = {
    "methods": estimates(
        "compare",
        dict.fromkeys(("change", "change_low", "change_high", "p", "p_holm", "detectable"), GAP),
        (("change", "change_low", "change_high"),),
        **dict.fromkeys(("model", "arm", "method"), TEXT),
        measure=one_of(*OUTCOMES, "contrast_over_refusal"),
    ),
    "method_settings": keyed(
        "compare",
        {
            "title": TEXT,
            **dict.fromkeys(("needs", "looks_at"), Column("text", optional=True)),
            "site": TEXT,
            "strength": NUMBER,
            **dict.fromkeys(("passes", "readings"), INTEGER),
            "writes": Column("text", optional=True),
            "answers": NUMBER,
            "wording": Column("text", optional=True),
        },
        **dict.fromkeys(("model", "method"), TEXT),
    ),
    "methods_by_category": estimates(
        "compare",
        **dict.fromkeys(("model", "arm", "method"), TEXT),
        measure=one_of("attack_success", "over_refusal", "contrast_over_refusal"),
        category=TEXT,
    ),
    "method_times": keyed("compare", {"time": NUMBER}, model=TEXT, method=TEXT),
    "method_gaps": keyed("compare", {"title": TEXT, "reason": TEXT}, model=TEXT, method=TEXT),
    "ablation": estimates(
        "ablate",
        **dict.fromkeys(("model", "arm"), TEXT),
        component=one_of("attention", "mlp", "head", "block", "state", "refusal", "drift"),
        head=INTEGER,
        replacement=one_of("zero", "mean", "resample", "patch-text", "patch-image", "unread"),
        control=one_of("none", "random", "self"),
        positions=TEXT,
        layers=TEXT,
        layer=INTEGER,
        label=LABEL,
        measure=one_of("z", "log_odds", "first_token", *OUTCOMES),
        read_layer=INTEGER,
    ),
    "attention": estimates(
        "ablate",
        **dict.fromkeys(("model", "arm"), TEXT),
        layer=INTEGER,
        head=INTEGER,
        reads=one_of("image", "audio", "request"),
        label=LABEL,
        measure=one_of("mass", "even"),
    ),
    "image_tokens": estimates(
        "image_tokens",
        **dict.fromkeys(("model", "arm", "condition", "vector"), TEXT),
        layer=INTEGER,
        alpha=NUMBER,
        measure=one_of(*OUTCOMES, "contrast_over_refusal", "auroc_z", "auroc_rho"),
    ),
    "image_token_claims": claims_of("image_tokens"),
    "image_token_variants": keyed(
        "image_tokens",
        {"title": TEXT, "reason": Column("text", optional=True)},
        **dict.fromkeys(("model", "arm", "vector"), TEXT),
    ),
    "sweep": estimates(
        "sweep",
        **dict.fromkeys(("model", "arm"), TEXT),
        vector=VECTOR,
        layer=INTEGER,
        alpha=NUMBER,
        label=LABEL,
        measure=one_of("z", "first_token"),
    ),
}


JUDGING: Mapping[str, Schema] = {
    "first_token": keyed(
        "judge",
        {"label": LABEL, "log_odds": NUMBER},
        **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
    ),
    "agreement": estimates(
        "judge",
        **dict.fromkeys(("model", "condition", "arm"), TEXT),
        label=one_of("all", "harmful", "harmless"),
        first=TEXT,
        second=TEXT,
        measure=one_of("kappa", "agreement"),
    ),
    "disagreements": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            **dict.fromkeys(("first", "second"), TEXT),
            **dict.fromkeys(("first_verdict", "second_verdict"), VERDICT),
            **dict.fromkeys(("first_reason", "second_reason"), Column("text", optional=True)),
        },
        ("model", "condition", "arm", "pair_id", "first", "second"),
        "judge",
    ),
    "comparisons": estimates(
        "judge",
        {"p": NUMBER, "p_holm": NUMBER, "detectable": GAP, "p_equivalent": GAP},
        **dict.fromkeys(("model", "judge", "arm", "condition"), TEXT),
        measure=one_of(*OUTCOMES),
    ),
    "utility": estimates(
        "utility",
        **dict.fromkeys(("model", "benchmark", "arm", "condition", "category"), TEXT),
        measure=one_of(*UTILITY),
    ),
    "utility_changes": estimates(
        "utility",
        {"p": NUMBER, "p_holm": NUMBER, "p_equivalent": NUMBER, "detectable": GAP},
        **dict.fromkeys(("model", "benchmark", "arm", "condition"), TEXT),
        measure=one_of("accuracy", "accuracy_plus", "circular_accuracy"),
    ),
    "transfer": estimates(
        "transfer",
        layer=INTEGER,
        measure=one_of(*SEPARABILITY, "cosine"),
        direction=one_of("run", "own"),
        **dict.fromkeys(("model", "benchmark", "arm"), TEXT),
    ),
    "transfer_outcomes": estimates(
        "transfer",
        measure=one_of(*OUTCOMES, *DEGENERATE),
        **dict.fromkeys(("model", "benchmark", "arm", "condition"), TEXT),
    ),
    "utility_answers": keyed(
        "utility",
        {
            **dict.fromkeys(("category", "answer"), TEXT),
            **dict.fromkeys(("text", "said"), Column("text", optional=True)),
            **dict.fromkeys(("right", "refused"), BOOLEAN),
        },
        **dict.fromkeys(("model", "benchmark", "arm", "condition", "pair_id"), TEXT),
    ),
}


SCHEMAS: Mapping[str, Schema] = {**RUN, **JUDGING, **INTERVENTIONS, **POWER, **ACROSS}
COMMANDS = {
    "judge": "regap judge RUN",
    "transfer": "regap transfer RUN",
    "compare": "regap compare",
    "read_back": "regap run --read-back",
    "calibrate": "regap calibrate RUN",
    "utility": "regap utility RUN",
    "ablate": "regap ablate RUN",
    "sweep": "regap sweep RUN",
    "image_tokens": "regap image-tokens RUN",
    "power": "regap power",
    "across": "regap across RUN RUN",
}
"""The command that makes the tables of an analysis; `regap run` makes all others."""


def command_for(table: str) -> str:
    """Return the command that makes a table."""
    return COMMANDS.get(SCHEMAS[table].analysis if table in SCHEMAS else table, "regap run")


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its schema's column order and types; raises ValueError if it does not fit."""
    return columns.conform(name, SCHEMAS[name], table)
