"""Low-rank changes of a decoder's linear maps: trained by PEFT, stored by themselves, added to the base's weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regap.errors import ModelError
from regap.geometry.states.store import read_tensors, write_tensors

MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SCALE = 2.0
"""By which PEFT multiplies the product of both factors: its alpha over the rank."""
DOWN, UP = "lora_A.default.weight", "lora_B.default.weight"
"""How PEFT names the two factors inside a linear map."""


@dataclass(frozen=True, eq=False)
class Change:
    """For each linear map, by its name in the decoder, two factors: the map gains `up @ down`."""

    factors: Mapping[str, tuple[Float[Tensor, "rank inner"], Float[Tensor, "outer rank"]]] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError("a change holds no map; train it first")

    @classmethod
    def trained_in(cls, decoder: nn.Module, scale: float) -> "Change":
        """Return what PEFT has trained in the decoder, with its scale multiplied in."""
        known = dict(decoder.named_parameters())
        names = [name.removesuffix(f".{DOWN}") for name in known if name.endswith(DOWN)]
        return cls(
            {
                name: (known[f"{name}.{DOWN}"].detach().cpu(), scale * known[f"{name}.{UP}"].detach().cpu())
                for name in names
            }
        )

    @classmethod
    def read(cls, file: Path) -> "Change":
        """Return a change from its file; raises StoreError if it is damaged, ModelError if it holds anything else."""
        tensors = {name: value.float() for name, value in read_tensors(file)[0].items()}
        names = {name.rpartition("/")[0] for name in tensors}
        try:
            return cls({name: (tensors[f"{name}/down"], tensors[f"{name}/up"]) for name in sorted(names)})
        except KeyError as error:
            raise ModelError(
                f"{file} is not a low-rank change: it lacks {error}; install regap again"
            ) from None

    def write(self, file: Path) -> None:
        """Write both factors of each map in float16."""
        tensors = {}
        for name, (down, up) in self.factors.items():
            tensors[f"{name}/down"], tensors[f"{name}/up"] = down.half(), up.half()
        write_tensors(file, tensors, {}, exact=True)

    @torch.no_grad()
    def add_to(self, decoder: nn.Module) -> None:
        """Add the change to the decoder's own weights; raises ModelError if a map is not there or has another shape."""
        maps = dict(decoder.named_modules())
        for name, (down, up) in self.factors.items():
            weight = getattr(maps.get(name), "weight", None)
            if weight is None or weight.shape != (up.shape[0], down.shape[1]):
                raise ModelError(
                    f"the change of {name} is for a map of shape {[up.shape[0], down.shape[1]]}, which this base does "
                    "not have; use the base that the subject was made on"
                )
            weight += (up @ down).to(weight)


def check_trainable() -> None:
    """Raise ModelError if the package that trains changes is missing."""
    if find_spec("peft") is None:
        raise ModelError(
            "training the English subject needs peft, which is not installed; pip install 'regap[english]'"
        )


def trainable(decoder: nn.Module, rank: int, seed: int) -> None:
    """Place a change of this rank, zero at first, on every linear map of the decoder.

    The map's own weights are frozen. The same seed gives the same change; global random state is unchanged.
    """
    check_trainable()
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(r=rank, lora_alpha=round(SCALE * rank), lora_dropout=0.0, target_modules=list(MAPS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(settings, decoder)
