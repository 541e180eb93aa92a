"""MME: yes-or-no questions about images, 14 kinds of them."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.questions.choices import ASK_WORD
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("data/test*.parquet", "*.parquet")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions; the two questions about one image, one with the answer Yes and one with No, are twins."""
    first = source.file(*FILES)
    for path in sorted(first.parent.glob("*.parquet")):
        for row in source.rows(path, ("question_id", "image", "question", "answer", "category")):
            question = row.text("question").replace("Please answer yes or no.", "").strip()
            message = Message(f"{question}\n{ASK_WORD}", (row.image(),))
            kind, image = row.text("category"), row.text("question_id")
            name = f"{kind}-{image}-{row.text('answer').lower()}"
            yield BenchmarkEntry(
                name,
                "harmless",
                question,
                {"picture": message},
                kind,
                row.text("answer"),
                twins=f"mme {kind} {image}",
            )


CARDS = (
    BenchmarkCard(
        "mme", load, "utility", ("picture",), "none stated", "https://huggingface.co/datasets/lmms-lab/MME",
        ("|".join(FILES),), (2374,), hub="lmms-lab/MME", hub_files=("data/*.parquet",),
        note="each image has a question with the answer Yes and one with the answer No",
    ),
)  # fmt: skip
