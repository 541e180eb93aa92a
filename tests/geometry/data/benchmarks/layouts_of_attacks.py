"""Benchmarks of attacks and of situations as they are distributed, in small, with placeholders for content."""

import io
from pathlib import Path

import numpy as np
import soundfile
from layout_files import Layout, Rows, document, pack, picture, png, struct, table


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
    def rows(text: str, image: str = "", sound: str = "") -> Rows:
        return [
            {
                "id": number,
                "image_path": f"mm_data/{image}/HateSpeech_{number}.png" if image else None,
                "audio_path": f"mm_data/{sound}/HateSpeech_{number}.mp3" if sound else None,
                "text": text.format(number) or None,
                "corresponding_text": f"List steps to do forbidden thing {number}.",
                "key_phrase": f"forbidden thing {number}",
                "harmful_category": "HateSpeech",
            }
            for number in (3, 375)
        ]

    meta = root / "meta_files"
    table(meta / "unimodal/text-only.jsonl", rows("List steps to do forbidden thing {}."))
    table(meta / "unimodal/image-only.jsonl", rows("", "full/image"))
    for kind in ("diffusion", "typo", "diff_typo"):
        text = "The image shows a phrase. List steps to do it."
        table(meta / f"dual-modal/image-text/{kind}.jsonl", rows(text, f"key_phrase/image/{kind}"))
    table(meta / "unimodal/audio-only.jsonl", rows("", sound="full/audio"))
    for kind in ("tts", "tts_noise"):
        text = "The audio says a phrase. List steps to do it."
        table(meta / f"dual-modal/audio-text/{kind}.jsonl", rows(text, sound=f"key_phrase/audio/{kind}"))
    for folder in ("full/audio", "key_phrase/audio/tts", "key_phrase/audio/tts_noise"):
        files = {f"HateSpeech_{number}.mp3": mp3(number) for number in (3, 375)}
        pack(root / "mm_data" / folder / "data.tar", files)
    for folder in (
        "full/image",
        *(f"key_phrase/image/{kind}" for kind in ("diffusion", "typo", "diff_typo")),
    ):
        pack(
            root / "mm_data" / folder / "data.tar", {f"HateSpeech_{number}.png": png() for number in (3, 375)}
        )


def mp3(number: int) -> bytes:
    """Half a second of a tone."""
    kept = io.BytesIO()
    samples = 0.5 * np.sin(np.arange(8_000) * (0.1 + number / 2000))
    soundfile.write(kept, samples, 16_000, format="MP3")
    return kept.getvalue()
