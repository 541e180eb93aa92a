"""Benchmarks of harmful requests as they are distributed, in small, with placeholders for content."""

from pathlib import Path

from layout_files import Layout, document, picture, table


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
