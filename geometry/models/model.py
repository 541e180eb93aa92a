"""A model with its processor, its decoder blocks and the names of their hooks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.models.decoder import find_decoder
from regap.geometry.models.processors import lock_of

PLAIN = "plain"
"""Fingerprint of a plain model, whose weights are not read."""
Hooks = Literal["blocks", "all"]
"""blocks: at the input and the output of each decoder block; all: every hook of TransformerLens' own adapter."""


@dataclass(frozen=True, eq=False)
class Model:
    """A Hugging Face model under TransformerLens hooks, with its processor."""

    bridge: Any = field(repr=False)
    """The TransformerBridge: `run_with_cache`, `hooks` and `hook_dict` work as in TransformerLens. None: no bridge."""
    processor: Any = field(repr=False)
    """Tokenizer, image processor, feature extractor of sounds and chat template; pads on the left."""
    name: str
    """The checkpoint folder's name, the hub id, or the class of a model in memory."""
    fingerprint: str
    """Digest of weights, configuration, tokenizer, template, dtype and attention implementation."""
    hooks: Hooks = "blocks"
    """Which hooks the bridge has."""

    template: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of the chat template, such as enable_thinking, and the date that it writes."""
    plain: Any = field(default=None, repr=False)
    """The Hugging Face model itself if there is no bridge."""

    def __post_init__(self) -> None:
        if self.bridge is not None and not getattr(self.processor, "chat_template", None):
            raise ModelError(no_template(self.name))

    @property
    def hf(self) -> Any:
        """The Hugging Face model itself; the bridge's hooks fire inside its `forward` and `generate`."""
        return self.plain if self.bridge is None else self.bridge.original_model

    @cached_property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return int(self.hf.config.get_text_config().num_hidden_layers)

    @cached_property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.hf.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """The device of the token embedding, where inputs go; other parts of the model may be on other devices."""
        embedding = self.bridge.embed.original_component
        if embedding.weight.device.type != "meta":
            return embedding.weight.device
        return torch.device(embedding._hf_hook.execution_device)  # weights are offloaded between passes

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @cached_property
    def tokenizing(self) -> Any:
        """The lock to hold while the tokenizer runs, since batches are prepared in another thread."""
        return lock_of(self.tokenizer)

    @property
    def sees_images(self) -> bool:
        """True if prompts may have images, False for a language model."""
        return hasattr(self.processor, "image_processor")

    @cached_property
    def hears(self) -> bool:
        """True if prompts may have sounds."""
        listens = getattr(self.hf.config, "audio_config", None) is not None
        extractor = getattr(self.processor, "feature_extractor", None)
        return listens and extractor is not None and self.audio_token is not None

    @cached_property
    def audio_token(self) -> int | None:
        """The token id of sounds in `input_ids`, None if there is none."""
        config = self.hf.config
        return getattr(config, "audio_token_id", getattr(config, "audio_token_index", None))

    @cached_property
    def hears_one_by_one(self) -> bool:
        """True if the features of a sound depend on the other sounds of its batch.

        The encoder of Qwen3-Omni fills up sounds to the longest of a batch and does not mask what its convolutions
        make of that.
        """
        return self.hears and self.hf.config.model_type == "qwen3_omni_moe_thinker"

    @property
    def sampling_rate(self) -> int:
        """Samples a second of the sounds that it reads."""
        return int(self.processor.feature_extractor.sampling_rate)

    @cached_property
    def longest_sound(self) -> float:
        """Most seconds of a sound, beyond which the processor would cut it or the model has no positions."""
        if hasattr(self.processor, "longest_sound"):
            return self.processor.longest_sound
        in_tokens = getattr(self.processor, "audio_seq_length", None)
        if in_tokens is not None:
            return in_tokens * self.processor.audio_ms_per_token / 1000
        return float(getattr(self.processor.feature_extractor, "chunk_length", float("inf")))

    @cached_property
    def image_token(self) -> int | None:
        """The token id of image patches in `input_ids`, None if there is none."""
        config = self.hf.config
        return getattr(config, "image_token_id", getattr(config, "image_token_index", None))

    @cached_property
    def longest_prompt(self) -> int | None:
        """Most tokens that the model has positions for, None if its configuration does not say."""
        return getattr(self.hf.config.get_text_config(), "max_position_embeddings", None)

    @cached_property
    def one_token_passes(self) -> bool:
        """True if the KV cache of a prompt without its last token can be reused.

        False if prompt tokens attend to later ones (PaliGemma), or cross-attention blocks keep keys and values of the
        image (Mllama).
        """
        text = self.hf.config.get_text_config()
        both_ways = getattr(text, "use_bidirectional_attention", None)
        return both_ways in (None, False, "vision") and not self.crossing  # images end before the last token

    @cached_property
    def head_widths(self) -> tuple[int, ...]:
        """Width of one attention head, by block; some models have wider heads in some blocks."""
        text = self.hf.config.get_text_config()
        layers = getattr(text, "per_layer_config", None) or [text] * self.layers
        return tuple(
            int(getattr(each, "head_dim", None) or each.hidden_size // each.num_attention_heads)
            for each in layers
        )

    def rope_group(self, length: int, answer: int = 0) -> int:
        """Return a number that is equal for prompts whose rotary frequencies are the same, up to the end of an answer.

        Some models rotate all prompts of a batch by other frequencies if its longest prompt is over a limit. Prompts
        whose answers, of at most `answer` tokens, may reach it share a number only if they have the same length.
        """
        for kind, limit in self._rope_switches:
            if length > limit:
                return 1 if kind == "longrope" else length
            if length + answer > limit:
                return -length
        return 0

    @cached_property
    def _rope_switches(self) -> tuple[tuple[str, int], ...]:
        found = getattr(self.hf.config.get_text_config(), "rope_parameters", None) or {}
        kinds = [found, *(each for each in found.values() if isinstance(each, dict))]
        limits = [
            (each, each.get("original_max_position_embeddings") or self.longest_prompt) for each in kinds
        ]
        return tuple(
            (each["rope_type"], limit)
            for each, limit in limits
            if limit is not None and each.get("rope_type") in ("longrope", "dynamic")
        )

    @cached_property
    def image_numbering(self) -> Any:
        """The module that numbers image tokens by height and width, as in Qwen-VL; None if positions are counts."""
        return next((one for one in (self.hf.base_model, self.hf) if hasattr(one, "get_rope_index")), None)

    @cached_property
    def takes_positions(self) -> bool:
        """True if a pass takes the position of each token; without it, padding on the left would count."""
        asked = (signature(one.forward).parameters for one in (self.hf, self.hf.base_model))
        return self.image_numbering is None and all("position_ids" in each for each in asked)

    @cached_property
    def crossing(self) -> frozenset[int]:
        """Cross-attention blocks, which read the image and are skipped without one."""
        return frozenset(getattr(self.hf.config.get_text_config(), "cross_attention_layers", None) or ())

    @cached_property
    def parts(self) -> Mapping[Any, Any]:
        """Where each block keeps its attention, its MLP and its heads, as far as known."""
        from regap.geometry.models.component_map import parts_of_blocks  # imports TransformerLens

        return parts_of_blocks(self.hf)

    @cached_property
    def decoder(self) -> torch.nn.Module:
        """The module that runs the decoder blocks."""
        if self.bridge is None:
            return self.hf.get_submodule(find_decoder(self.hf).blocks.rpartition(".")[0])
        first = self.bridge.blocks[0]
        wrapped = {first, first.original_component}
        return next(
            module
            for module in self.hf.modules()
            if any(
                isinstance(each, torch.nn.ModuleList) and wrapped & {*each[:1]} for each in module.children()
            )
        )

    @cached_property
    def blocks(self) -> list[torch.nn.Module]:
        """The decoder blocks, Hugging Face's own modules."""
        if self.bridge is None:
            return [*self.hf.get_submodule(find_decoder(self.hf).blocks)]  # type: ignore[misc]
        return [block.original_component for block in self.bridge.blocks]

    @classmethod
    def of_plain(cls, hf: Any) -> "Model":
        """Return a plain Hugging Face model as a Model on which edits can be placed; it is not changed.

        Raises ModelError for a model without a decoder of the usual layout, or one that is under hooks already.
        """
        find_decoder(hf)
        return cls(None, None, type(hf).__name__, PLAIN, plain=hf)

    def hook_name(self, layer: int) -> str:
        """Return the canonical TransformerLens name of the output of block `layer`, 0-based.

        The output of a cross-attention block, which is skipped without an image, is read and written at the next
        module's input. Raises ModelError for a layer that the model does not have.
        """
        if not 0 <= layer < self.layers:
            raise ModelError(
                f"layer {layer} is not in model {self.name}; its blocks are 0 to {self.layers - 1}"
            )
        if layer not in self.crossing:
            return f"blocks.{layer}.hook_out"
        return "ln_final.hook_in" if layer == self.layers - 1 else f"blocks.{layer + 1}.hook_in"

    @torch.inference_mode()
    def logit_lens(self, states: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt token_id"]:
        """Return W_U norm(h), the logits if these states were outputs of the last block; float32, on the CPU.

        For outputs of the last block these are the model's own logits, except that soft caps on logits are not
        applied. Raises ModelError for a model without an output embedding.
        """
        head = self.hf.get_output_embeddings()
        if head is None:
            raise ModelError(
                f"model {self.name} has no output embedding; methods that read tokens from states need one"
            )
        weight = next(head.parameters())
        inputs = states.to(weight.device, weight.dtype)
        norm = getattr(self.bridge, "ln_final", None)
        return head(inputs if norm is None else norm(inputs)).float().cpu()


def no_template(name: str) -> str:
    """Return the message for a processor without a chat template."""
    return (
        f"model {name}: its processor has no chat template; add chat_template.jinja to the folder, "
        "or pass a processor whose chat_template is set"
    )


def weights_in(fingerprint: str) -> str:
    """Return the part of a fingerprint that no hook, processor or attention implementation changes."""
    return fingerprint.rsplit(":", 2)[0]
