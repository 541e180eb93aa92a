"""What a gate reads: from coordinates along the refusal direction to one number a prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class SignalRule:
    """A signal, and whether it takes a pass under the probe correction."""

    of: Callable[[Float[Tensor, "prompt layer"], Float[Tensor, "prompt layer"]], Float[Tensor, " prompt"]]
    """(z before, z after the probe) at the read layers -> signal."""
    probes: bool
    """False if z after the probe is not looked at."""


SIGNALS: Mapping[str, SignalRule] = {
    "rho": SignalRule(lambda before, after: (after - before).mean(1), True),
    "z_before": SignalRule(lambda before, after: before.mean(1), False),  # noqa: ARG005
    "z_after": SignalRule(lambda before, after: after.mean(1), True),  # noqa: ARG005
}
"""rho: what the correction changed; z_before, z_after: the plain coordinate; means over the read layers."""
