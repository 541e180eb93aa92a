"""Whether a model can be trusted under our hooks: self-tests on the user's own model and machine."""

import importlib.util
import io
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch
from PIL import Image

from regap.geometry.forward import prefill, run, run_last_token
from regap.geometry.models import Model
from regap.geometry.pairs import Picture, Prompt
from regap.geometry.prompts import Batch, collate, describe
from regap.interventions.fixed import Shift
from regap.interventions.sites import Site

TOLERANCE = 1e-3
"""Largest difference, relative to the largest number compared, that rounding may make; wider below float32."""


@dataclass(frozen=True)
class Check:
    """One thing that must be true, whether it is, and what was measured."""

    name: str
    passed: bool
    detail: str


def check_environment() -> list[Check]:
    """Return what is installed, and whether a torchvision that does not fit torch would break transformers."""
    packages = ("torch", "transformers", "transformer-lens", "plotly")
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    checks = [Check("Python 3.11 or newer", sys.version_info >= (3, 11), platform.python_version())]
    checks.append(Check("packages", True, found))
    if importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
            checks.append(Check("torchvision fits torch", True, version("torchvision")))
        except Exception as error:
            detail = f"{str(error).splitlines()[0]}; uninstall torchvision, regap does not need it"
            checks.append(Check("torchvision fits torch", False, detail))
    device = "a GPU is available" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return [*checks, Check("device", True, device)]


def check_model(model: Model) -> list[Check]:
    """Return the outcome of every self-test, on prompts with small images and without."""
    return [check for kind in ("text", "image") for check in _checks(model, kind)]


def shown_prompt(model: Model) -> str:
    """Return one image prompt as the model reads it, with the tail of its tokens."""
    return describe(model, _prompts("image")[0])


def _prompts(kind: str) -> list[Prompt]:
    texts = ["please describe this for me", "and now", "what is written here please tell me now"]
    if kind == "text":
        return [Prompt(text) for text in texts]
    return [
        Prompt(f"<image> {text}", (_picture(colour),))
        for text, colour in zip(texts, ("red", "green", "blue"), strict=True)
    ]


def _picture(colour: str) -> Picture:
    kept = io.BytesIO()
    Image.new("RGB", (72, 72), colour).save(kept, "PNG")
    return Picture(kept.getvalue())


def _checks(model: Model, kind: str) -> Iterator[Check]:
    prompts = _prompts(kind)
    batch = collate(model, prompts, range(len(prompts)))
    layers = list(range(model.layers))
    plain = run(model, batch, layers)
    yield _residuals_equal(model, batch, plain.states, kind)
    singles = [run(model, collate(model, [prompt], [0]), layers).states for prompt in prompts]
    yield _close(model, f"{kind}: a padded batch equals single prompts", torch.cat(singles), plain.states)
    prefix = prefill(model, batch)
    yield _close(
        model,
        f"{kind}: one-token passes equal full passes",
        run_last_token(model, prefix, layers).states,
        plain.states,
    )
    yield _edit_is_exact(model, batch, plain.states, kind)
    again = run(model, batch, layers)
    same = torch.equal(again.logits, plain.logits)
    yield Check(
        f"{kind}: hooks come off", same, "logits are bit-identical afterwards" if same else "logits changed"
    )


@torch.inference_mode()
def _residuals_equal(model: Model, batch: Batch, states: torch.Tensor, kind: str) -> Check:
    hidden = model.hf(**batch.inputs, use_cache=False, output_hidden_states=True).hidden_states
    theirs = torch.stack(
        [one[:, -1].float().cpu() for one in hidden[1:-1]], 1
    )  # the last one is after the norm
    return _close(model, f"{kind}: residuals equal Hugging Face's hidden states", states[:, :-1], theirs)


def _edit_is_exact(model: Model, batch: Batch, states: torch.Tensor, kind: str) -> Check:
    layer = model.layers // 2
    vector = torch.ones(1, model.width) * states[:, layer].std()
    shift = Shift(Site((layer,)), vector, 1.0, "ones")
    edited = run(model, batch, range(model.layers), [shift]).states
    earlier = torch.equal(edited[:, :layer], states[:, :layer])
    moved = _close(
        model, f"{kind}: an edit moves its layer by the vector", states[:, layer] - vector, edited[:, layer]
    )
    return Check(moved.name, moved.passed and earlier, moved.detail if earlier else "earlier layers changed")


def _close(model: Model, name: str, one: torch.Tensor, other: torch.Tensor) -> Check:
    largest = float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
    allowed = TOLERANCE if model.hf.dtype == torch.float32 else 50 * TOLERANCE
    return Check(
        name, largest <= allowed, f"largest relative difference {largest:.1e}, allowed {allowed:.0e}"
    )
