"""The tables of `regap run`: geometry, answers and claims."""

from collections.abc import Mapping

from regap.analyses.tables.columns import (
    BOOLEAN,
    DEGENERATE,
    ESTIMATE,
    GAP,
    INTEGER,
    LABEL,
    LEVEL,
    NUMBER,
    OUTCOMES,
    SEPARABILITY,
    TEXT,
    TRIPLE,
    VECTOR,
    VERDICT,
    Column,
    Schema,
    estimates,
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
    "completions": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id", "text"), TEXT),
            "tokens": INTEGER,
            "finished": BOOLEAN,
            "first_token": Column("integer", optional=True),
        },
        ("model", "condition", "arm", "pair_id"),
        "outcomes",
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
    "correlations": estimates("drift_predicts", level=LEVEL, x=TEXT, y=TEXT),
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
    "advantage": Schema(
        {
            **dict.fromkeys(("model", "arm", "method"), TEXT),
            "budget": NUMBER,
            "measure": one_of("at_equal_over_refusal", "against_chosen_strength", "over_refusal_change"),
            **ESTIMATE,
            **dict.fromkeys(("low_all", "high_all"), GAP),
        },
        ("model", "arm", "method", "budget", "measure"),
        "regap",
        (("value", "low", "high"), ("value", "low_all", "high_all")),
    ),
    "adaptive": estimates(
        "regap", model=TEXT, arm=TEXT, method=TEXT, setting=TEXT, measure=one_of(*OUTCOMES)
    ),
    "claims": Schema(
        {
            "claim": one_of("collapse", "drift_predicts", "drift_causes", "self_rectification", "regap"),
            "title": TEXT,
            "verdict": one_of("holds", "does not hold", "unclear"),
            "criterion": TEXT,
            "evidence": TEXT,
            **ESTIMATE,
        },
        ("claim",),
        "claims",
        TRIPLE,
    ),
}
