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
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.site import AtSite, Norm, Phase, Site, as_long_as, position_rule


@dataclass(frozen=True, eq=False)
class FunctionEdit(AtSite):
    """h <- function(h) at the tokens of a site; other tokens do not change."""

    function: Callable[[Residual], Residual] = field(repr=False)
    """From [prompt, token, d_model] to the same shape and dtype; it receives every token of a pass."""
    site: Site
    name: str

    @property
    def identity(self) -> str:
        """Digest of the site, the name, the function's code and the values that it uses."""
        return digest_of(["function", str(self.site), self.name, _digest(self.function)])

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks, after a test of the function on random states.

        Raises ModelError for a function that changes other tokens than the site's, the shape or the dtype.
        """
        self._probe(model)
        return [Hook(model.hook_name(layer), self._hook(model, batch)) for layer in self.site.layers]

    def on(self, model: Any) -> Any:
        """Return a context manager, inside which the prompts of the plain Hugging Face model are edited."""
        from regap.interventions.plain_models.attached import edited

        return edited(model, self)

    def save(self, folder: object) -> None:  # noqa: ARG002 - the signature of every edit
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
                f"edit {self.name!r} has positions 'last', and its function changes other tokens; change "
                "only [:, -1], or give positions='all'"
            )
        alone = self.function(states[:, -1:].clone().to(weight.device)).cpu()
        if self.only_last and not torch.allclose(alone[:, -1], found[:, -1].cpu(), rtol=1e-2, atol=1e-3):
            raise ModelError(
                f"edit {self.name!r} has positions 'last', and its function reads other tokens, which are not in a "
                "pass of the last token; give positions='all', and change only [:, -1]"
            )

    def _hook(self, model: Model, batch: Batch) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(model, self.site, batch)

        def change(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            new = self.function(residual.clone())
            self._check(residual, new)
            new = as_long_as(residual, new) if self.site.norm == "keep" else new
            return torch.where(mask[..., None], new, residual)

        return change

    def _check(self, given: Tensor, found: object) -> None:
        if not isinstance(found, Tensor) or found.shape != given.shape or found.dtype != given.dtype:
            told = (
                f"{list(found.shape)} in {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            )
            raise ModelError(
                f"edit {self.name!r}: its function returns {told} for states of shape {list(given.shape)} in "
                f"{given.dtype}; return the same shape and dtype (use vector.to(states))"
            )


def edit(
    function: Callable[[Residual], Residual],
    layers: Sequence[int] | int,
    positions: Positions = "all",
    phase: Phase = "prefill",
    norm: Norm = "plain",
    name: str = "",
) -> FunctionEdit:
    """Return the edit h <- function(h) at the outputs of these layers, 0-based.

    The function receives the residual stream [prompt, token, d_model] of a pass and returns the same shape. At
    positions "last" passes of the last token are enough, which is faster; the function may then read and change only
    that token, and this is tested on random states first.
    """
    if not callable(function):
        raise ConfigError(f"function is {function!r}; give a function of the residual stream")
    return FunctionEdit(
        function,
        Site(as_layers(layers), positions, phase, norm),
        name or getattr(function, "__name__", "function"),
    )


def _digest(function: Any) -> str:
    """Return a digest of code and values; a value that is not a tensor is represented by its repr."""
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
