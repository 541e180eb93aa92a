"""Every benchmark by name, written as it is distributed and read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from layout_files import Layout
from layouts_of_attacks import hades, jailbreakv, mssbench, omni_safetybench, siuo
from layouts_of_questions import (
    alpaca,
    dolly,
    llava_instruct,
    mm_vet,
    mmbench,
    mme,
    mmmu,
    or_bench,
    or_bench_80k,
    pope,
    scienceqa,
)
from layouts_of_requests import (
    ADVICE,
    HARMFUL,
    advbench,
    figstep_pro,
    harmbench,
    harmbench_multimodal,
    jailbreakbench,
    mm_safetybench,
    mossbench,
    safebench,
    strongreject,
    vlguard,
    vlsafe,
    vlsafe_alignment,
    xstest,
)

LAYOUTS: dict[str, Layout] = {
    "figstep": safebench("safebench.csv", "SafeBench"),
    "figstep-tiny": safebench("SafeBench-Tiny.csv", "SafeBench-Tiny"),
    "figstep-pro": figstep_pro,
    "mm-safetybench": mm_safetybench(*HARMFUL),
    "mm-safetybench-advice": mm_safetybench(*ADVICE),
    "harmbench": harmbench,
    "harmbench-multimodal": harmbench_multimodal,
    "jailbreakbench": jailbreakbench,
    "advbench": advbench,
    "strongreject": strongreject,
    "xstest": xstest,
    "mossbench": mossbench,
    "vlguard": vlguard("test"),
    "vlguard-train": vlguard("train"),
    "vlsafe": vlsafe,
    "vlsafe-alignment": vlsafe_alignment,
    "hades": hades,
    "jailbreakv-28k": jailbreakv("JailBreakV_28K.csv"),
    "jailbreakv-28k-mini": jailbreakv("mini_JailBreakV_28K.csv"),
    "siuo": siuo,
    "mssbench": mssbench,
    "omni-safetybench": omni_safetybench,
    "or-bench": or_bench,
    "or-bench-80k": or_bench_80k,
    "alpaca": alpaca,
    "dolly": dolly,
    "llava-instruct": llava_instruct,
    "mme": mme,
    "pope": pope,
    "scienceqa": scienceqa,
    "mmbench": mmbench,
    "mmbench-circular": mmbench,
    "mmmu": mmmu,
    "mm-vet": mm_vet,
}


@pytest.fixture
def distributed(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a benchmark as it is distributed, in small, and says where."""

    def write(name: str) -> Path:
        folder = tmp_path / "download"
        folder.mkdir(exist_ok=True)
        LAYOUTS[name](folder)
        return folder

    return write


@pytest.fixture
def read(distributed: Callable[[str], Path]) -> Callable[..., Any]:
    """Writes a benchmark and reads it; in small, it never has the published counts."""
    from regap.geometry.data.benchmarks.loading import benchmark

    def load(name: str, **options: Any) -> Any:
        return benchmark(name, distributed(name), allow_partial=True, **options)

    return load
