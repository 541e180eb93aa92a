"""States are kept in as few bytes as hold every bit of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from regap.geometry.states.shards import Shards
from regap.geometry.states.store import ShardKey, Store, narrowest_format

KEY = ShardKey("model", (), (0, 1), ("a", "b", "c"))


def states() -> torch.Tensor:
    return torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_16_bits_take_16_bits_and_come_back_bit_for_bit(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    computed = states().to(dtype).float()
    assert narrowest_format(computed).dtype == dtype
    path = Store(tmp_path).write(KEY, computed)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("residuals").dtype == dtype
    stored = Store(tmp_path).read(KEY)
    assert stored is not None and stored.residuals.dtype == torch.float32
    assert torch.equal(stored.residuals, computed)
    shards = Shards.of([path], [[0, 1, 2]], 2, 8)
    assert torch.equal(shards.load(), computed) and torch.equal(shards.load(1), computed[:, 1:])


@pytest.mark.parametrize("row", [0, 2])
def test_one_number_of_32_bits_keeps_all_of_them(row: int, tmp_path: Path) -> None:
    computed = states().bfloat16().float()
    computed[row, 1, 3] = 1 + 2**-20
    assert narrowest_format(computed).dtype == torch.float32
    Store(tmp_path).write(KEY, computed)
    stored = Store(tmp_path).read(KEY)
    assert stored is not None and torch.equal(stored.residuals, computed)


def test_large_numbers_are_not_made_infinite() -> None:
    computed = torch.tensor([[1e5 + 0.5]])  # too large for float16, too fine for bfloat16
    assert narrowest_format(computed).dtype == torch.float32


def test_a_damaged_shard_of_16_bits_is_computed_anew(tmp_path: Path) -> None:
    path = Store(tmp_path).write(KEY, states().bfloat16().float())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        assert Store(tmp_path).read(KEY) is None
    assert Store(tmp_path).read(replace(KEY, model="another")) is None
