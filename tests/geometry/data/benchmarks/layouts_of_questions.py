"""Harmless and utility sources as they are distributed, in small: exact file names and columns."""

import base64
import json
from pathlib import Path

from layout_files import document, picture, png, struct, table


def or_bench(root: Path) -> None:
    for file, deed in (("or-bench-hard-1k.csv", "allowed"), ("or-bench-toxic.csv", "forbidden")):
        table(root / file, [{"prompt": f"Do the {deed} thing {n}", "category": "theme"} for n in range(3)])


def or_bench_80k(root: Path) -> None:
    table(root / "or-bench-80k.csv", [{"prompt": f"Do the thing {n}", "category": "theme"} for n in range(3)])


def alpaca(root: Path) -> None:
    rows = [{"instruction": f"Name thing {n}.", "input": "", "output": "Thing."} for n in range(3)]
    rows += [{"instruction": "Name it.", "input": "a context", "output": "It."}, rows[0]]
    table(root / "alpaca_data.json", rows)


def dolly(root: Path) -> None:
    rows = [
        {"instruction": f"Name thing {n}.", "context": "", "response": "Thing.", "category": "open_qa"}
        for n in range(3)
    ]
    table(root / "databricks-dolly-15k.jsonl", [*rows, rows[0] | {"context": "A context."}])


def llava_instruct(root: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat is shown?"}, {"from": "gpt", "value": "A thing."}]
    rows = [{"id": f"{n}", "image": f"{n:012d}.jpg", "conversations": turns} for n in range(3)]
    table(root / "llava_instruct_80k.json", rows)
    for row in rows:
        picture(root / "images" / row["image"])


def mme(root: Path) -> None:
    rows = [
        {
            "question_id": f"code_reasoning/{number}.png",
            "image": struct(number),
            "question": f"Is this thing {number}? Please answer yes or no.",
            "answer": answer,
            "category": "code_reasoning",
        }
        for number in (1, 2)
        for answer in ("Yes", "No")
    ]
    table(root / "data/test-00000-of-00001.parquet", rows)


def pope(root: Path) -> None:
    for kind in ("random", "popular", "adversarial"):
        rows = [
            {
                "question_id": number,
                "image": f"COCO_val2014_{number // 2:012d}.jpg",
                "text": f"Is there a {kind} thing in the image?",
                "label": "yes" if number % 2 else "no",
            }
            for number in range(4)
        ]
        path = root / f"output/coco/coco_pope_{kind}.json"  # lines, though it is not called so
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        for row in rows:
            picture(root / "val2014" / row["image"])


def scienceqa(root: Path) -> None:
    rows = [
        {
            "image": struct(),
            "question": "Which is it?",
            "choices": ["this", "that"],
            "answer": 1,
            "hint": "Look.",
            "subject": "natural science",
        },
        {
            "image": None,
            "question": "Which was it?",
            "choices": ["these", "those", "none"],
            "answer": 0,
            "hint": "",
            "subject": "social science",
        },
    ]
    table(root / "ScienceQA-FULL/test-00000-of-00001.parquet", rows)


def mmbench(root: Path) -> None:
    encoded = base64.b64encode(png()).decode()
    shared = {
        "question": "Which is it?",
        "hint": "",
        "A": "this",
        "B": "that",
        "C": "",
        "D": "",
        "category": "ocr",
        "l2-category": "perception",
        "split": "dev",
    }
    rows = [
        {"index": 7, **shared, "answer": "B", "image": encoded},
        {"index": 1000007, **shared, "answer": "A", "image": "7"},
    ]
    table(root / "MMBench_DEV_EN.tsv", rows)


def mmmu(root: Path) -> None:
    rows = [
        {
            "id": "validation_Art_1",
            "question": "Compare <image 1> with <image 2>.",
            "options": "['alike', 'as <image 1>', \"unlike\"]",
            "answer": "C",
            "question_type": "multiple-choice",
            **{f"image_{number}": struct(number) if number < 3 else None for number in range(1, 8)},
        },
        {
            "id": "validation_Art_2",
            "question": "What is <image 1>?",
            "options": "[]",
            "answer": "a thing",
            "question_type": "open",
            **{f"image_{number}": struct(9) if number < 2 else None for number in range(1, 8)},
        },
    ]
    table(root / "Art/validation-00000-of-00001.parquet", rows)


def mm_vet(root: Path) -> None:
    content = {
        f"v1_{number}": {
            "imagename": f"v1_{number}.png",
            "question": f"What is thing {number}?",
            "answer": "x=-1<AND>x=-5",
            "capability": ["ocr", "math"],
            "imagesource": "a placeholder",
        }
        for number in range(2)
    }
    document(root / "mm-vet.json", content)
    for number in range(2):
        picture(root / f"images/v1_{number}.png")
