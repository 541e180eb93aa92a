"""A low-rank change added to the base's weights does what PEFT's layers did in training."""

from pathlib import Path

import pytest
import torch

from regap.errors import ModelError, StoreError
from regap.organism.english.base import Base
from regap.organism.english.change import SCALE, Change, trainable


def trained(base: Base) -> torch.nn.Module:
    """A decoder with a change that is not zero."""
    decoder = base.model().model
    trainable(decoder, 3, seed=1)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if "lora_B" in name:
                parameter.copy_(
                    torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
                )
    return decoder


def states(decoder: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return decoder(input_ids=torch.arange(2, 12)[None]).last_hidden_state


def test_a_stored_change_gives_the_states_of_the_trained_decoder(base: Base, tmp_path: Path) -> None:
    decoder = trained(base)
    before, changed = states(base.model().model), states(decoder)
    assert (changed - before).abs().max() > 0.1
    Change.trained_in(decoder, SCALE).write(tmp_path / "change.safetensors")
    plain = base.model().model
    Change.read(tmp_path / "change.safetensors").add_to(plain)
    torch.testing.assert_close(states(plain), changed, atol=2e-2, rtol=0)  # the file holds 16 bits


def test_a_new_change_changes_nothing_and_trains_only_itself(base: Base) -> None:
    decoder = base.model().model
    before = states(decoder)
    trainable(decoder, 3, seed=1)
    torch.testing.assert_close(states(decoder), before)
    assert all("lora_" in name for name, one in decoder.named_parameters() if one.requires_grad)


def test_a_damaged_change_is_refused(base: Base, tmp_path: Path) -> None:
    file = tmp_path / "change.safetensors"
    Change.trained_in(trained(base), SCALE).write(file)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"change\.safetensors"):
        Change.read(file)


def test_a_change_for_another_base_is_refused(base: Base) -> None:
    change = Change({"layers.0.self_attn.q_proj": (torch.zeros(2, 7), torch.zeros(7, 2))})
    with pytest.raises(ModelError, match="does not have"):
        change.add_to(base.model().model)
