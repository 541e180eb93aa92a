"""LLaVA-1.5-7B with random weights in bfloat16: prompts a second, share of the matrix peak, overhead of our hooks.

    python tests/benchmarks/gpu.py                     # on the first GPU
    python tests/benchmarks/gpu.py --tiny --device cpu # the same code in a moment

Bare Hugging Face and ours run in turns on the same weights; medians of the rounds. The matrix peak is measured on
the same device: the best of large products in the same number format.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import shapes
import torch

from regap.analyses.runs.plan import Work, measured_rate, plan
from regap.geometry.forward.pending_states import start_capture

LLAVA = shapes.Shape(
    "llava", 32, 4096, 32, tokens=704, prompts=16, vocabulary=32_064,
    tower={"layers": 24, "width": 1024, "size": 336, "patch": 14},
)  # fmt: skip
TINY = shapes.SMALL["llava-8x256"]


@dataclass(frozen=True)
class Measured:
    """Seconds a batch takes, bare and with every layer's last token read, and what the device could do."""

    prompts: int
    bare: float
    ours: float
    operations: int
    peak_rate: float
    peak_bytes: int

    def lines(self) -> list[str]:
        """Return what is printed."""
        memory = f"{self.peak_bytes / 1e9:.1f} GB at the peak" if self.peak_bytes else "memory not measured"
        return [
            f"bare Hugging Face, no head: {self.prompts / self.bare:.2f} prompts/s",
            f"all layers' last tokens:    {self.prompts / self.ours:.2f} prompts/s",
            f"time over bare:             {self.ours / self.bare:.3f}",
            f"share of the matrix peak:   {self.operations / self.ours / self.peak_rate:.1%}"
            f" of {self.peak_rate / 1e12:.3g} TFLOP/s",
            memory,
        ]


def measure(shape: shapes.Shape, device: str, dtype: torch.dtype, rounds: int) -> Measured:
    """Return the medians of interleaved rounds."""
    subject = _subject(shape, device, dtype)
    patches = (shape.tower["size"] // shape.tower["patch"]) ** 2
    work = Work(((shape.tokens,) * shape.prompts,), shape.prompts, shape.prompts * patches)
    rate = measured_rate(torch.device(device), dtype, 8192 if device != "cpu" else 1024)
    planned = plan(subject.model, work, rate=rate)
    bare = shapes.bare_forward(subject)

    def ours() -> Any:
        return start_capture(subject.model, subject.batch, range(shape.layers)).wait()

    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(rounds + 1):
        for name, run in (("bare", bare), ("ours", ours)):
            seconds[name].append(_seconds(run, device))
    peak = torch.cuda.max_memory_allocated() if device != "cpu" else 0
    medians = {name: median(times[1:]) for name, times in seconds.items()}  # the first round warms up
    return Measured(shape.prompts, medians["bare"], medians["ours"], planned.operations, rate, peak)


def _subject(shape: shapes.Shape, device: str, dtype: torch.dtype) -> shapes.Subject:
    """Build on the device and in the number format, so that seven billion float32 numbers are never held."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            bare = shapes.build(shape)
    finally:
        torch.set_default_dtype(before)
    return shapes.subject_of(shape, bare)


def _seconds(run: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of moments")
    parser.add_argument("--prompts", type=int, help="in a batch")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    shape = TINY if asked.tiny else LLAVA
    shape = replace(shape, prompts=asked.prompts or shape.prompts)
    for line in measure(shape, asked.device, torch.bfloat16, asked.rounds).lines():
        print(line)


if __name__ == "__main__":
    main()
