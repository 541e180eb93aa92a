"""The tables of methods, ablations and sweeps."""

from collections.abc import Mapping

from regap.analyses.tables.columns import (
    ESTIMATE,
    GAP,
    INTEGER,
    LABEL,
    NUMBER,
    OUTCOMES,
    TEXT,
    VECTOR,
    Column,
    Schema,
    estimates,
    one_of,
)

INTERVENTIONS: Mapping[str, Schema] = {
    "methods": Schema(
        {
            **dict.fromkeys(("model", "arm", "method"), TEXT),
            "measure": one_of(*OUTCOMES, "contrast_over_refusal"),
            **ESTIMATE,
            **dict.fromkeys(("change", "change_low", "change_high", "p", "p_holm", "detectable"), GAP),
        },
        ("model", "arm", "method", "measure"),
        "compare",
        (("value", "low", "high"), ("change", "change_low", "change_high")),
    ),
    "method_settings": Schema(
        {
            **dict.fromkeys(("model", "method", "title"), TEXT),
            **dict.fromkeys(("needs", "looks_at"), Column("text", optional=True)),
            "site": TEXT,
            "strength": NUMBER,
            **dict.fromkeys(("passes", "readings"), INTEGER),
            "writes": Column("text", optional=True),
            "answers": NUMBER,
            "wording": Column("text", optional=True),
        },
        ("model", "method"),
        "compare",
    ),
    "methods_by_category": estimates(
        "compare",
        **dict.fromkeys(("model", "arm", "method"), TEXT),
        measure=one_of("attack_success", "over_refusal", "contrast_over_refusal"),
        category=TEXT,
    ),
    "method_times": Schema(
        {**dict.fromkeys(("model", "method"), TEXT), "time": NUMBER}, ("model", "method"), "compare"
    ),
    "method_gaps": Schema(
        dict.fromkeys(("model", "method", "title", "reason"), TEXT), ("model", "method"), "compare"
    ),
    "ablation": estimates(
        "ablate",
        **dict.fromkeys(("model", "arm"), TEXT),
        component=one_of("attention", "mlp", "head", "block", "state", "refusal", "drift"),
        head=INTEGER,
        replacement=one_of("zero", "mean", "resample", "patch-text", "patch-image"),
        control=one_of("none", "random", "self"),
        positions=one_of("last", "after_instruction", "image", "request", "template", "all"),
        layers=TEXT,
        layer=INTEGER,
        label=LABEL,
        measure=one_of("z", "log_odds", "first_token", *OUTCOMES),
        read_layer=INTEGER,
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
