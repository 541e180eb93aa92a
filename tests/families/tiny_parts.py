"""What the tiny models share: sizes, width 32, and weights that are awake."""

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tiny_words import BEGIN, END, PAD, chat_template, tokenizer

hf: Any = transformers  # its lazy names and its many defaults are beyond a type checker
LAYERS, WIDTH = 3, 32
SIDE, PATCH = 28, 14


@dataclass(frozen=True)
class Family:
    """A tiny model as Hugging Face builds it, unwrapped, and its processor."""

    model: Any
    processor: Any


def text_config(kind: Any, words: Any, **more: Any) -> Any:
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": LAYERS}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512}
    special = {name: words.convert_tokens_to_ids(mark) for name, mark in SPECIAL.items()}
    return kind(**{"vocab_size": len(words), **sizes, **special, "tie_word_embeddings": False, **more})


def decoder(kind: Any, model: Any, layout: str, **more: Any) -> Family:
    """A language model and its tokenizer."""
    words: Any = tokenizer(layout)
    words.chat_template = chat_template(layout, "")
    return Family(model(text_config(kind, words, **more)), words)


SPECIAL = {"pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END}
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TOWER |= {"image_size": SIDE, "patch_size": PATCH}


def awake(model: Any) -> Any:
    """The model with weights large enough that prompts and edits show in its logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model.eval()
