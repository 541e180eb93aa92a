"""An edit from a plain function of the residual stream."""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regap.errors import ConfigError, ModelError, PackError
from regap.geometry.forward.hooks import Hook, Residual
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers
from regap.geometry.prompts.batch import Batch, Positions
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.site import Norm, Phase, Site, position_rule


@dataclass(frozen=True, eq=False)
class FunctionEdit:
    """h <- function(h) at the tokens of a site; all other tokens stay as they are."""

    function: Callable[[Residual], Residual] = field(repr=False)
    """From [prompt, token, d_model] to the same shape and number format; it sees every token of a pass."""
    site: Site
    name: str

    @property
    def identity(self) -> str:
        """Digest of the site, the name, and the function's code and the values it uses."""
        return digest_of(["function", str(self.site), self.name, _digest(self.function)])

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return self.site.only_last

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return fresh hooks, after a look at what the function does to random states.

        Raises ModelError for a function that changes other tokens than the site's, shapes or number formats.
        """
        self._probe(model)
        return [Hook(model.hook_name(layer), self._hook(batch)) for layer in self.site.layers]

    def on(self, model: Any) -> Any:
        """Edit every prompt that a plain Hugging Face model is given while a `with` lasts; then it is as it was."""
        from regap.interventions.plain_models.attached import edited

        return edited(model, self)

    def save(self, folder: object) -> None:  # noqa: ARG002 - as every edit's
        """Raise PackError: a function is code, and cannot be stored as data."""
        raise PackError(f"edit {self.name!r} is a function and cannot be saved; save a shift or a ReGap")

    @torch.no_grad()
    def _probe(self, model: Model) -> None:
        generator = torch.Generator().manual_seed(0)
        weight = next(model.hf.parameters())
        states = torch.randn(2, 3, model.width, generator=generator).to(weight.dtype)
        found = self.function(states.clone().to(weight.device))
        self._check(states, found)
        changed = (found.cpu() != states).any(-1).any(0)
        if self.only_last and bool(changed[:-1].any()):
            raise ModelError(
                f"edit {self.name!r} is at the positions 'last', and its function changes other tokens; change "
                "[:, -1] alone, or give positions='all'"
            )

    def _hook(self, batch: Batch) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(self.site, batch)

        def change(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            new = self.function(residual.clone())
            self._check(residual, new)
            if self.site.norm == "keep":
                new = new * (
                    residual.norm(dim=-1, keepdim=True) / new.norm(dim=-1, keepdim=True).clamp_min(1e-12)
                )
            return torch.where(mask[..., None], new, residual)

        return change

    def _check(self, given: Tensor, found: object) -> None:
        if not isinstance(found, Tensor) or found.shape != given.shape or found.dtype != given.dtype:
            told = (
                f"{list(found.shape)} in {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            )
            raise ModelError(
                f"edit {self.name!r}: its function returns {told} for states of shape {list(given.shape)} in "
                f"{given.dtype}; return the same shape and number format (use vector.to(states))"
            )


def edit(
    function: Callable[[Residual], Residual],
    layers: Sequence[int] | int,
    positions: Positions = "last",
    phase: Phase = "prefill",
    norm: Norm = "plain",
    name: str = "",
) -> FunctionEdit:
    """Return the edit h <- function(h) at the outputs of these layers, 0-based.

    The function sees the residual stream [prompt, token, d_model] of a pass and returns the same shape. At positions
    "last" it may change the last token alone, which is tried on random states before results are made.
    """
    if not callable(function):
        raise ConfigError(f"function is {function!r}; give a function of the residual stream")
    return FunctionEdit(
        function,
        Site(as_layers(layers), positions, phase, norm),
        name or getattr(function, "__name__", "function"),
    )


def _digest(function: Any) -> str:
    """A digest of code and values; a value that is neither plain nor a tensor is told by its text."""
    call = function if hasattr(function, "__code__") else type(function).__call__
    code = getattr(call, "__code__", None)
    used = [] if code is None else [code.co_code.hex(), [repr(each) for each in code.co_consts]]
    values: dict[str, Any] = {}
    if hasattr(call, "__code__"):
        found = inspect.getclosurevars(call)
        values = {**found.nonlocals, **found.globals}
    values |= dict(getattr(function, "__dict__", {}))
    told = {
        name: digest_of_tensor(each) if isinstance(each, Tensor) else repr(each)
        for name, each in values.items()
        if not inspect.ismodule(each)
    }
    return hashlib.sha256(repr([used, sorted(told.items())]).encode()).hexdigest()[:32]
