"""Tests of a model under hooks, compared with Hugging Face's own code and PyTorch's own hooks."""

import importlib.util
import io
import platform
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from regap.analyses.self_test.hook_names import (
    Check,
    Kind,
    check_all_hooks,
    check_parts,
    check_patterns,
    close,
    full_model,
    same,
)
from regap.analyses.self_test.template import check_template
from regap.errors import ModelError, PairError, first_line
from regap.geometry.data.pairs import Picture, Prompt, Sound
from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.hooks import Hook, hooked
from regap.geometry.forward.prefix import borrowed, prefill, run, run_last_token
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate, describe
from regap.geometry.prompts.positions import RULED, Positions, Role, Rule
from regap.interventions.decoding import Decoding, decode, settings_left_out
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

NEW_TOKENS = 8
POSITIONS: tuple[Positions, ...] = ("last", "all")
"""Where edits are tried in every prompt."""
TEXTS = ("please describe this for me", "and now", "what is written here please tell me now")


def self_tests(model: Model) -> Iterator[Check]:
    """Yield every self-test, on text prompts and, if the model takes them, on prompts with an image or a sound."""
    kinds: list[Kind] = ["text", *kinds_of(model)]
    full = full_model(model)
    available = isinstance(full, Model)
    yield Check("hooks", True, "blocks and all" if available else f"blocks; not all: {full}")
    yield _decoding(model)
    yield from check_template(model)
    for kind in kinds:
        try:
            batch = collate(model, prompts_of(kind), range(len(TEXTS)))
        except ModelError as error:
            yield Check(f"{kind}: the processor takes such prompts", False, str(error))
            continue
        except PairError as error:  # the package that reads sounds is not installed
            yield Check(
                f"{kind}: not tried", True, f"prompts with a {kind} were not tried: {error}", noted=True
            )
            continue
        holds = _holds(model, batch, kind)
        yield holds
        if not holds.passed:
            continue  # infinities cannot be compared
        yield from _reading(model, batch, kind)
        yield from _writing(model, batch, kind)
        yield from check_parts(model, batch, kind)
        if isinstance(full, Model):
            yield from () if full is model else check_all_hooks(model, full, batch, kind)
            yield from check_patterns(full, batch, kind)
        yield from _positions(model, batch, kind)
        if kind != "text":
            yield _mixed(model, kind)


def kinds_of(model: Model) -> list[Kind]:
    """Return what prompts of the model may have beside words."""
    able: dict[Kind, bool] = {"image": model.sees_images, "sound": model.hears}
    return [kind for kind, may in able.items() if may]


def _decoding(model: Model) -> Check:
    """Return a check that names the generation settings of the checkpoint that answers do not use."""
    left = settings_left_out(model.hf)
    named = ", ".join(f"{name}={value!r}" for name, value in left.items())
    told = (
        f"left out of the checkpoint's: {named}; Sampling(checkpoint=True) uses them "
        "(`regap run --decoding checkpoint`)"
        if left
        else "nothing is left out"
    )
    return Check("answers are decoded greedily", True, told, noted=bool(left))


def prompts_of(kind: Kind) -> list[Prompt]:
    """Return three prompts of different lengths, as text or each with an image or a sound."""
    if kind == "text":
        return [Prompt(text) for text in TEXTS]
    if kind == "sound":
        sounds = map(_tone, (200, 500, 900))
        return [Prompt(f"<audio> {text}", sounds=(sound,)) for text, sound in zip(TEXTS, sounds, strict=True)]
    pictures = map(_picture, ("red", "green", "blue"))
    return [Prompt(f"<image> {text}", (picture,)) for text, picture in zip(TEXTS, pictures, strict=True)]


def _picture(colour: str) -> Picture:
    kept = io.BytesIO()
    Image.new("RGB", (72, 72), colour).save(kept, "PNG")
    return Picture(kept.getvalue())


def _tone(pitch: int) -> Sound:
    """Return a tone of this pitch that becomes louder, longer the lower it is."""
    times = torch.arange(16_000 * 200 // pitch + 4_000) / 16_000
    tone = (2 * torch.pi * pitch * times).sin() * times / times[-1] * 2**14
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(tone.to(torch.int16).numpy().astype("<i2").tobytes())
    return Sound(kept.getvalue())


def _holds(model: Model, batch: Batch, kind: Kind) -> Check:
    name = f"{kind}: {str(model.hf.dtype).removeprefix('torch.')} holds every number"
    try:
        run(model, batch, range(model.layers))
    except ModelError as error:
        return Check(name, False, str(error))
    return Check(name, True, "all finite")


def _reading(model: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    layers = range(model.layers)
    plain = run(model, batch, layers)
    theirs = _hidden(model, batch)
    if len(theirs) == model.layers + 1 and not torch.equal(theirs[0], _entering(model, batch)):
        theirs.insert(0, theirs[0])  # some lists of hidden states begin after the first block
    ours = [layer for layer in layers if len(theirs) == model.layers + 1 or layer not in model.crossing]
    states = torch.stack(theirs[1 : len(ours)], 1)  # the last hidden state is after the norm
    yield close(
        model, f"{kind}: residuals equal Hugging Face's hidden states", plain.states[:, ours[:-1]], states
    )
    singles = [run(model, collate(model, [prompt], [0]), layers) for prompt in prompts_of(kind)]
    alone = torch.cat([single.states for single in singles])
    padded = f"{kind}: a padded batch equals single prompts"
    if kind == "sound" and model.hears_one_by_one:
        told = "not for this model: sounds of a batch change each other, so each is run alone"
        yield Check(padded, True, told, noted=True)
    else:
        yield close(model, padded, alone, plain.states)
    name = f"{kind}: one-token passes equal full passes, each time the KV cache is used"
    if prefill(model, batch).whole:
        yield Check(name, True, "not for this model: its KV cache cannot be put back, so full passes are run")
    else:
        twice = [run_last_token(model, prefill(model, batch), layers) for _ in range(2)]
        found = torch.cat([each.states.flatten(1) for each in twice])
        yield close(model, name, found, plain.states.flatten(1).repeat(2, 1))


def _entering(model: Model, batch: Batch) -> Tensor:
    """Return what enters the first block, at the last token."""
    seen: list[Tensor] = []
    with torch.inference_mode(), hooked(model, [Hook("blocks.0.hook_in", seen.append)]):
        model.hf(**batch.inputs, use_cache=False)
    return seen[0][:, -1].float().cpu()


@torch.inference_mode()
def _hidden(model: Model, batch: Batch) -> list[Tensor]:
    hidden = model.hf(**batch.inputs, use_cache=False, output_hidden_states=True).hidden_states
    return [one[:, -1].float().cpu() for one in hidden]


def _writing(model: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    plain = run(model, batch, range(model.layers))
    layer = max(set(range(model.layers // 2 + 1)) - model.crossing)
    vector = torch.ones(model.width) * plain.states[:, layer].std()
    media: dict[Kind, Positions] = {"image": "image", "sound": "audio"}
    tried: list[Positions] = [*POSITIONS, *([media[kind], f"{media[kind]}[-1]"] if kind in media else [])]
    for positions in tried:
        shift = Shift(Site((layer,), positions), vector[None], 1.0, "ones")
        edited = run(model, batch, range(model.layers), [shift])
        with _raw_hook(model, layer, _moved(batch, positions, vector)):
            raw = run(model, batch, range(model.layers))
        check = close(model, f"{kind}: an edit at {positions} equals a raw hook", edited.logits, raw.logits)
        earlier = torch.equal(edited.states[:, :layer], plain.states[:, :layer])
        yield Check(
            check.name, check.passed and earlier, check.detail if earlier else "earlier layers changed"
        )
        with _raw_hook(model, layer, _moved(batch, positions, vector)):
            expected = _answer(model, batch, [])
        yield same(
            f"{kind}: answers edited at {positions} equal a raw hook's",
            _edited(model, batch, shift),
            expected,
        )
        if positions == "last" and not prefill(model, batch).whole and model.hf.dtype == torch.float32:
            name = f"{kind}: answers from a reused KV cache are equal, each time it is used"
            twice = [_edited(model, batch, shift, kept=True) for _ in range(2)]
            yield same(name, torch.cat(twice), expected.repeat(2, 1))
    off = torch.equal(run(model, batch, ()).logits, plain.logits)
    yield Check(f"{kind}: hooks come off", off, "logits bit-identical" if off else "logits changed")


def _edited(model: Model, batch: Batch, shift: Shift, kept: bool = False) -> Tensor:
    return _answer(model, batch, shift.hooks(model, batch), kept)


@torch.inference_mode()
def _answer(model: Model, batch: Batch, hooks: Sequence[Hook], kept: bool = False) -> Tensor:
    inputs: dict[str, Any] = dict(batch.inputs)
    if kept:
        prefix = prefill(model, batch)
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        inputs["past_key_values"] = prefix.cache
    with borrowed(model, prefill(model, batch)) if kept else nullcontext(), hooked(model, hooks):
        output = decode(model.hf, model.tokenizer, inputs, Decoding(NEW_TOKENS))
    return output[:, batch.real.shape[1] :]


@contextmanager
def _raw_hook(model: Model, layer: int, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Place PyTorch's own hook on Hugging Face's own block, beneath the bridge."""

    def call(block: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001 - PyTorch passes all three
        return change(output) if isinstance(output, Tensor) else (change(output[0]), *output[1:])

    handle = model.bridge.blocks[layer].original_component.register_forward_hook(call)
    try:
        yield
    finally:
        handle.remove()


def _moved(batch: Batch, positions: Positions, vector: Tensor) -> Callable[[Tensor], Tensor]:
    calls: list[None] = []

    def change(residual: Tensor) -> Tensor:
        calls.append(None)
        if len(calls) > 1:
            return residual  # a generated token
        where = _marked(batch, positions).to(residual.device)
        return torch.where(where[..., None], residual - vector.to(residual), residual)

    return change


def _marked(batch: Batch, positions: Positions) -> Tensor:
    """Return True at the position; the last token of a role is found one prompt after the other."""
    if not positions.endswith("[-1]"):
        return batch.at(positions)
    found = torch.zeros_like(batch.real)
    for row, tokens in enumerate(batch.at(positions.removesuffix("[-1]"))):
        found[row, max(tokens.nonzero()[:, 0].tolist())] = True
    return found


def _positions(model: Model, batch: Batch, kind: Kind) -> Iterator[Check]:
    for positions in get_args(Role):
        media = {"image": "image", "audio": "sound"}
        if media.get(positions, kind) != kind:
            continue
        name = f"{kind}: position {positions}"
        try:
            where = batch.at(positions)
        except ModelError as error:
            yield Check(name, positions == "after_instruction", str(error))
            continue
        tokens = batch.inputs["input_ids"][0, where[0]].tolist()
        shown = model.tokenizer.decode(tokens)
        detail = f"{len(tokens)} tokens: {shown if len(shown) < 60 else shown[:28] + ' ... ' + shown[-28:]!r}"
        yield Check(name, bool(where.any(1).all()), detail)
    if kind == "image":
        yield from _carriers(model, batch)


def _carriers(model: Model, batch: Batch) -> Iterator[Check]:
    """Yield, for each rule, that it names some of the image tokens, or why it is refused on this model."""
    for rule in get_args(Rule):
        positions = f"{RULED}:{rule}"
        try:
            found = tokens_at(model, batch, positions)
        except ModelError as error:
            yield Check(f"image: position {positions}", True, f"refused: {error}")
            continue
        inside = not bool((found & ~batch.image).any())
        counted = f"{int(found[0].sum())} of {int(batch.image[0].sum())} image tokens"
        yield Check(f"image: position {positions}", inside, counted)


def _mixed(model: Model, kind: Kind) -> Check:
    name = f"text and {kind} prompts share a batch"
    prompts = [prompts_of("text")[0], prompts_of(kind)[2]]
    try:
        together = run(model, collate(model, prompts, [0, 1]), range(model.layers))
    except ModelError as error:
        return Check(name, True, f"refused, so they are never mixed: {error}")
    singles = [run(model, collate(model, [prompt], [0]), range(model.layers)) for prompt in prompts]
    return close(model, name, torch.cat([single.states for single in singles]), together.states)


def check_environment() -> list[Check]:
    """Return checks of installed versions, and whether torchvision is compatible with torch."""
    packages = ("torch", "transformers", "transformer-lens", "plotly")
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    checks = [Check("Python 3.11 or newer", sys.version_info >= (3, 11), platform.python_version())]
    checks.append(Check("packages", True, found))
    if importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
            checks.append(Check("torchvision fits torch", True, version("torchvision")))
        except Exception as error:
            detail = f"{first_line(error)}; uninstall torchvision, regap does not need it"
            checks.append(Check("torchvision fits torch", False, detail))
    device = "a GPU is available" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return [*checks, Check("device", True, device)]


def in_one_line(checks: Sequence[Check]) -> str:
    """Return whether results of this model can be trusted, and why; and the hooks that it can be loaded with."""
    failed = [check for check in checks if not check.passed]
    hooks = next((check.detail.partition(";")[0] for check in checks if check.name == "hooks"), "unknown")
    if failed:
        why = "; ".join(f"{check.name} ({check.detail})" for check in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        return f"do not trust it: {len(failed)} of {len(checks)} checks failed: {why}{more}; hooks available: {hooks}"
    noted = "; ".join(check.detail for check in checks if check.noted)
    told = f"; keep in mind: {noted}" if noted else ""
    return f"trust it: all {len(checks)} checks passed{told}; hooks available: {hooks}"


def shown_prompt(model: Model) -> str:
    """Return one rendered prompt, with an image if the model takes any, else a sound, and its last tokens."""
    kinds: list[Kind] = [*kinds_of(model), "text"]
    return describe(model, prompts_of(kinds[0])[0])
