"""XSTest: safe prompts that sound unsafe, and unsafe contrasts to each kind."""

from collections import Counter
from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("xstest_prompts.csv", "xstest_v2_prompts.csv", "data/xstest_prompts.csv")
CONTRAST_OF = {
    "nons_group_real_discr": "contrast_discr",
    "real_group_nons_discr": "contrast_discr",
    "privacy_public": "contrast_privacy",
    "privacy_fictional": "contrast_privacy",
}
"""Safe kinds that share a kind of contrast; for any other `kind` it is `contrast_kind`."""


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield all prompts; the i-th safe prompt of a kind and the i-th unsafe prompt of its contrast are twins."""
    seen: Counter[str] = Counter()
    for row in source.rows(source.file(*FILES), ("id", "prompt", "type")):
        kind, prompt = row.text("type"), row.text("prompt")
        unsafe = row.get("label") == "unsafe" if row.get("label") else "contrast" in kind
        contrast = kind if kind.startswith("contrast_") else CONTRAST_OF.get(kind, f"contrast_{kind}")
        yield BenchmarkEntry(
            row.text("id"), "harmful" if unsafe else "harmless", prompt, {"text": words(prompt)}, kind,
            twins=f"xstest {contrast} {seen[kind]}",
        )  # fmt: skip
        seen[kind] += 1


CARDS = (
    BenchmarkCard(
        "xstest", load, "safety", ("text",), "CC BY 4.0", "https://github.com/paul-rottger/exaggerated-safety",
        ("|".join(FILES),), (450,), note="250 safe and 200 unsafe prompts",
    ),
)  # fmt: skip
