"""The tables of judges and of utility."""

from collections.abc import Mapping

from regap.analyses.tables.columns import (
    BOOLEAN,
    ESTIMATE,
    GAP,
    LABEL,
    NUMBER,
    OUTCOMES,
    TEXT,
    TRIPLE,
    UTILITY,
    VERDICT,
    Column,
    Schema,
    estimates,
    one_of,
)

JUDGING: Mapping[str, Schema] = {
    "first_token": Schema(
        {
            **dict.fromkeys(("model", "condition", "arm", "pair_id"), TEXT),
            "label": LABEL,
            "log_odds": NUMBER,
        },
        ("model", "condition", "arm", "pair_id"),
        "judge",
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
    "comparisons": Schema(
        {
            **dict.fromkeys(("model", "judge", "arm", "condition"), TEXT),
            "measure": one_of(*OUTCOMES),
            **ESTIMATE,
            **dict.fromkeys(("p", "p_holm"), NUMBER),
            **dict.fromkeys(("detectable", "p_equivalent"), GAP),
        },
        ("model", "judge", "arm", "condition", "measure"),
        "judge",
        TRIPLE,
    ),
    "utility": estimates(
        "utility",
        **dict.fromkeys(("model", "benchmark", "arm", "condition", "category"), TEXT),
        measure=one_of(*UTILITY),
    ),
    "utility_changes": Schema(
        {
            **dict.fromkeys(("model", "benchmark", "arm", "condition"), TEXT),
            "measure": one_of("accuracy", "accuracy_plus", "circular_accuracy"),
            **ESTIMATE,
            **dict.fromkeys(("p", "p_holm", "p_equivalent"), NUMBER),
            "detectable": GAP,
        },
        ("model", "benchmark", "arm", "condition", "measure"),
        "utility",
        TRIPLE,
    ),
    "utility_answers": Schema(
        {
            **dict.fromkeys(
                ("model", "benchmark", "arm", "condition", "pair_id", "category", "answer"), TEXT
            ),
            **dict.fromkeys(("text", "said"), Column("text", optional=True)),
            **dict.fromkeys(("right", "refused"), BOOLEAN),
        },
        ("model", "benchmark", "arm", "condition", "pair_id"),
        "utility",
    ),
}
