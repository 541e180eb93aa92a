"""The schemas of tables that put several runs together."""

from collections.abc import Mapping

from regap.analyses.tables.columns import CLAIM_VERDICT, GAP, INTEGER, NUMBER, TEXT, Schema, estimates

ACROSS: Mapping[str, Schema] = {
    "model_claims": estimates(
        "across", {"verdict": CLAIM_VERDICT}, **dict.fromkeys(("model", "claim", "site"), TEXT)
    ),
    "subject_claims": estimates(
        "beside", {"verdict": CLAIM_VERDICT}, **dict.fromkeys(("model", "arm", "claim", "site"), TEXT)
    ),
    "claims_across_models": estimates(
        "across",
        {
            "verdict": CLAIM_VERDICT,
            "bound": NUMBER,
            "p": GAP,
            **dict.fromkeys(("version", "holds", "does_not_hold", "unclear"), INTEGER),
        },
        **dict.fromkeys(("claim", "site"), TEXT),
    ),
    "drift_across_models": estimates("across", {"p": GAP}, y=TEXT),
    "model_corrections": estimates("across", **dict.fromkeys(("model", "correction", "measure"), TEXT)),
    "corrections_across_models": estimates("across", **dict.fromkeys(("correction", "measure"), TEXT)),
    "correction_differences": estimates(
        "across",
        {"p": GAP, **dict.fromkeys(("lower", "higher"), INTEGER)},
        **dict.fromkeys(("against", "correction", "measure"), TEXT),
    ),
}
"""Tables of several runs together; they stand in a folder of their own."""
