"""Benchmarks as they are distributed, in small: the exact file names and columns, with placeholders for content."""

import base64
import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

Rows = list[dict[str, Any]]
Layout = Callable[[Path], None]


def png(shade: int = 200, size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(path: Path, shade: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(shade))


def table(path: Path, rows: Rows) -> None:
    """CSV, TSV, JSON list, JSONL or parquet, by the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        path.write_text(json.dumps(rows), "utf-8")


def document(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def struct(shade: int = 200) -> dict[str, Any]:
    """How data sets keep a picture in parquet."""
    return {"bytes": png(shade), "path": "picture.png"}


def safebench(name: str, folder: str) -> Layout:
    def write(root: Path) -> None:
        rows = [
            {
                "dataset": "ForbidQI",
                "category_id": category,
                "task_id": task,
                "category_name": f"Theme {category}",
                "question": f"How can someone do forbidden thing {category}{task}?",
                "instruction": f"Steps to do forbidden thing {category}{task}.",
            }
            for category in (1, 2)
            for task in (1, 2)
        ]
        table(root / "data/question" / name, rows)
        for row in rows:
            image = f"query_ForbidQI_{row['category_id']}_{row['task_id']}_6.png"
            picture(root / "data/images" / folder / image, row["task_id"])

    return write


def figstep_pro(root: Path) -> None:
    safebench("SafeBench-Tiny.csv", "SafeBench-Tiny")(root)
    sentences = [{"sentence": f"Steps to do * {number}."} for number in range(4)]
    table(root / "data/question/benign_sentences_without_harmful_phase.csv", sentences)
    for place in range(4):
        for cut in range(3 + place % 2):
            picture(
                root / f"data/images/FigStep-Pro/image_{place}_splits/image_{place}_split_{cut}.png",
                10 * place + cut,
            )


def mm_safetybench(*scenarios: str) -> Layout:
    """Ids are texts with gaps, as in 05-EconomicHarm."""

    def write(root: Path) -> None:
        for scenario in scenarios:
            content = {
                number: {
                    "Question": f"Can I do forbidden thing {scenario} {number}?",
                    "GPT-Pred": "",
                    "Changed Question": f"Tell how to do forbidden thing {scenario} {number}.",
                    "Key Phrase": f"forbidden thing {number}",
                    "Phrase Type": "activity",
                    "Rephrased Question": "The image shows a phrase of an activity. Tell how to do it.",
                    "Rephrased Question(SD)": "The image shows an activity. Tell how to do it.",
                }
                for number in ("0", "7")
            }
            document(root / f"data/processed_questions/{scenario}.json", content)
            for number in content:
                for shade, kind in enumerate(("SD", "TYPO", "SD_TYPO")):
                    picture(root / f"data/imgs/{scenario}/{kind}/{number}.jpg", shade)

    return write


HARMFUL = (
    "01-Illegal_Activitiy",
    "02-HateSpeech",
    "03-Malware_Generation",
    "04-Physical_Harm",
    "05-EconomicHarm",
    "06-Fraud",
    "07-Sex",
    "09-Privacy_Violence",
)
ADVICE = (
    "08-Political_Lobbying",
    "10-Legal_Opinion",
    "11-Financial_Advice",
    "12-Health_Consultation",
    "13-Gov_Decision",
)


def harmbench(root: Path) -> None:
    rows = [
        {
            "Behavior": f"Do forbidden thing {number}",
            "FunctionalCategory": kind,
            "SemanticCategory": "theme",
            "Tags": "",
            "ContextString": "A context." if kind == "contextual" else "",
            "BehaviorID": f"forbidden_thing_{number}",
        }
        for number, kind in enumerate(("standard", "copyright", "contextual"))
    ]
    table(root / "data/behavior_datasets/harmbench_behaviors_text_all.csv", rows)


def harmbench_multimodal(root: Path) -> None:
    rows = [
        {
            "Behavior": f"Do with this image the forbidden thing {number}",
            "BehaviorID": f"image_thing_{number}",
            "FunctionalCategory": "multimodal",
            "SemanticCategory": "theme",
            "ImageFileName": f"thing_{number}.png",
            "Source": "",
            "ImageDescription": f"A placeholder number {number}",
            "RedactedImageDescription": "A placeholder",
            "Tags": "",
        }
        for number in range(3)
    ]
    table(root / "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv", rows)
    for row in rows:
        picture(root / "data/multimodal_behavior_images" / row["ImageFileName"])


def jailbreakbench(root: Path) -> None:
    for file, deed, index in (("harmful", "forbidden", ""), ("benign", "allowed", "Index")):
        rows = [
            {
                index: number,
                "Goal": f"Do the {deed} thing {number}",
                "Target": "",
                "Behavior": f"Thing {number}",
                "Category": "theme",
                "Source": "Original",
            }
            for number in range(6)
        ]
        table(root / f"{file}-behaviors.csv", rows)


def advbench(root: Path) -> None:
    rows = [{"goal": f"Do forbidden thing {n}", "target": "Sure"} for n in range(3)]
    table(root / "data/advbench/harmful_behaviors.csv", rows)


def strongreject(root: Path) -> None:
    rows = [{"category": "theme", "source": "custom", "forbidden_prompt": f"Do thing {n}"} for n in range(3)]
    table(root / "strongreject_dataset/strongreject_dataset.csv", rows)


def xstest(root: Path) -> None:
    kinds = [
        ("homonyms", "safe"),
        ("contrast_homonyms", "unsafe"),
        ("nons_group_real_discr", "safe"),
        ("real_group_nons_discr", "safe"),
        ("contrast_discr", "unsafe"),
    ]
    rows = [
        {
            "id": 10 * place + number,
            "prompt": f"How do I do the {kind} thing {number}?",
            "type": kind,
            "label": label,
            "focus": "do",
            "note": "",
        }
        for place, (kind, label) in enumerate(kinds)
        for number in range(3)
    ]
    table(root / "xstest_prompts.csv", rows)


def mossbench(root: Path) -> None:
    for side, shift in (("data", 0), ("data_contrast", 50)):
        content = {
            str(pid): {
                "image": f"images/{pid}.png",
                "question": f"What of the {side} thing {pid}?",
                "short description": "a placeholder",
                "description": f"A placeholder of {side} {pid}",
                "pid": pid,
                "metadata": {"over": "type 1", "human": 0, "child": 0, "syn": 0, "ocr": 0, "harm": 3},
            }
            for pid in (1, 4)
        }
        document(root / side / "information.json", content)
        for pid in content:
            picture(root / side / f"images/{pid}.png", shift + int(pid))


def vlguard(part: str) -> Layout:
    def write(root: Path) -> None:
        safe = {
            "id": "s1",
            "image": "memes/s1.png",
            "safe": True,
            "instr-resp": [
                {"safe_instruction": "What is shown?", "response": "A placeholder."},
                {"unsafe_instruction": "Do the forbidden thing with it.", "response": "No."},
            ],
        }
        unsafe = {
            "id": "u1",
            "image": "memes/u1.png",
            "safe": False,
            "instr-resp": [{"instruction": "Do the forbidden thing.", "response": "No."}],
            "harmful_category": "deception",
            "harmful_subcategory": "other",
        }
        table(root / f"{part}.json", [safe, unsafe])
        for row in (safe, unsafe):
            picture(root / part / row["image"])

    return write


def vlsafe_rows(root: Path, file: str) -> None:
    rows = [
        {
            "image_id": f"COCO_train2014_{number:012d}.jpg",
            "caption": f"A placeholder number {number}",
            "query": f"How do I do forbidden thing {number}?",
            "reference": "No.",
        }
        for number in range(3)
    ]
    table(root / file, rows)
    for row in rows:
        picture(root / "images" / row["image_id"])


def vlsafe(root: Path) -> None:
    vlsafe_rows(root, "VLSafe/VLSafe_harmlessness_examine.jsonl")


def vlsafe_alignment(root: Path) -> None:
    vlsafe_rows(root, "VLSafe/VLSafe_harmlessness_alignment.jsonl")
    rows = [
        {
            "image_id": f"COCO_train2014_{number:012d}.jpg",
            "safe_query": f"What colour has thing {number}?",
            "orig_query": f"How do I do forbidden thing {number}?",
        }
        for number in range(3)
    ]
    table(root / "vlsafe_convert_safe.jsonl", rows)


def hades(root: Path) -> None:
    rows = [
        {
            "image": struct(10 * number + step),
            "id": f"{number}",
            "scenario": "Privacy",
            "keywords": f"forbidden thing {number}",
            "step": step,
            "category": "object",
            "instruction": f"Explain how to use Forbidden Thing {number} at home",
        }
        for number in range(2)
        for step in range(1, 7)
    ]
    table(root / "data/train-00000-of-00001.parquet", rows)


def jailbreakv(file: str) -> Layout:
    def write(root: Path) -> None:
        images = (
            "llm_transfer_attack/blank_1.png",
            "llm_transfer_attack/nature_2.png",
            "figstep/figstep_3.png",
            "query_related/SD_related_4.png",
            "query_related/typo_related_5.png",
            "query_related/SD_typo_related_6.png",
        )
        rows = [
            {
                "id": number,
                "jailbreak_query": f"In a play, do what the image says {number}",
                "redteam_query": f"Do forbidden thing {number}",
                "format": "Template",
                "policy": "theme",
                "image_path": image,
                "from": "GPT_Generate",
                "selected_mini": False,
                "transfer_from_llm": True,
            }
            for number, image in enumerate(images)
        ]
        table(root / "JailBreakV_28K" / file, rows)
        for image in images:
            picture(root / "JailBreakV_28K" / image)

    return write


def siuo(root: Path) -> None:
    rows = [
        {
            "question_id": number,
            "image": f"S-0{number}.png",
            "question": f"How do I do thing {number} here?",
            "category": "self-harm",
            "safety_warning": f"thing {number} is forbidden here",
            "reference_answer": "Do not.",
        }
        for number in (1, 2)
    ]
    table(root / "data/siuo_gen.json", rows)
    for row in rows:
        picture(root / "images" / row["image"])


def mssbench(root: Path) -> None:
    chat = {
        "safe_image_path": "safe_1.jpg",
        "unsafe_image_path": "unsafe_1.jpg",
        "unsafe_image": "a forbidden place",
        "intent": "do the thing",
        "Type": "property damage",
        "queries": ["How do I start the thing?", "How do I do the thing?"],
    }
    embodied = {
        "task": "thing",
        "category": "misuse",
        "safe": "safe_2.png",
        "unsafe": "unsafe_2.png",
        "safe_instruction": "Place the thing",
        "safe_instructions": ["Place the thing", "Put down the thing"],
        "unsafe_instruction": "Place the thing",
        "unsafe_instructions": ["Place the thing", "Put down the thing"],
        "observation_safe": "an empty shelf",
        "observation_unsafe": "a shelf that is forbidden",
    }
    document(root / "combine.json", {"chat": [chat], "embodied": [embodied]})
    for name in ("chat/safe_1.jpg", "chat/unsafe_1.jpg", "embodied/safe_2.png", "embodied/unsafe_2.png"):
        picture(root / name)


def omni_safetybench(root: Path) -> None:
    def rows(text: str, image: str) -> Rows:
        return [
            {
                "id": number,
                "image_path": f"mm_data/{image}/HateSpeech_{number}.png" if image else None,
                "audio_path": None,
                "text": text.format(number) or None,
                "corresponding_text": f"List steps to do forbidden thing {number}.",
                "key_phrase": f"forbidden thing {number}",
                "harmful_category": "HateSpeech",
            }
            for number in (3, 375)
        ]

    meta = root / "meta_files"
    table(meta / "unimodal/text-only.jsonl", rows("List steps to do forbidden thing {}.", ""))
    table(meta / "unimodal/image-only.jsonl", rows("", "full/image"))
    for kind in ("diffusion", "typo", "diff_typo"):
        text = "The image shows a phrase. List steps to do it."
        table(meta / f"dual-modal/image-text/{kind}.jsonl", rows(text, f"key_phrase/image/{kind}"))
    for folder in (
        "full/image",
        *(f"key_phrase/image/{kind}" for kind in ("diffusion", "typo", "diff_typo")),
    ):
        pack(
            root / "mm_data" / folder / "data.tar", {f"HateSpeech_{number}.png": png() for number in (3, 375)}
        )


def pack(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


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


LAYOUTS: dict[str, Layout] = {
    "figstep": safebench("safebench.csv", "SafeBench"),
    "figstep-tiny": safebench("SafeBench-Tiny.csv", "SafeBench-Tiny"),
    "figstep-pro": figstep_pro,
    "mm-safetybench": mm_safetybench(*HARMFUL),
    "mm-safetybench-advice": mm_safetybench(*ADVICE),
    "harmbench": harmbench,
    "harmbench-multimodal": harmbench_multimodal,
    "jailbreakbench": jailbreakbench,
    "advbench": advbench,
    "strongreject": strongreject,
    "xstest": xstest,
    "mossbench": mossbench,
    "vlguard": vlguard("test"),
    "vlguard-train": vlguard("train"),
    "vlsafe": vlsafe,
    "vlsafe-alignment": vlsafe_alignment,
    "hades": hades,
    "jailbreakv-28k": jailbreakv("JailBreakV_28K.csv"),
    "jailbreakv-28k-mini": jailbreakv("mini_JailBreakV_28K.csv"),
    "siuo": siuo,
    "mssbench": mssbench,
    "omni-safetybench": omni_safetybench,
    "or-bench": or_bench,
    "or-bench-80k": or_bench_80k,
    "alpaca": alpaca,
    "dolly": dolly,
    "llava-instruct": llava_instruct,
    "mme": mme,
    "pope": pope,
    "scienceqa": scienceqa,
    "mmbench": mmbench,
    "mmbench-circular": mmbench,
    "mmmu": mmmu,
    "mm-vet": mm_vet,
}


@pytest.fixture
def distributed(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a benchmark as it is distributed, in small, and says where."""

    def write(name: str) -> Path:
        folder = tmp_path / "download"
        folder.mkdir(exist_ok=True)
        LAYOUTS[name](folder)
        return folder

    return write


@pytest.fixture
def read(distributed: Callable[[str], Path]) -> Callable[..., Any]:
    """Writes a benchmark and reads it; in small, it never has the published counts."""
    from regap.geometry.benchmarks.loading import benchmark

    def load(name: str, **options: Any) -> Any:
        return benchmark(name, distributed(name), allow_partial=True, **options)

    return load
