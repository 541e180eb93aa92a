"""Short sounds with known content."""

import io
import wave

import numpy as np


def tone(pitch: float, seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """A tone that rises and becomes louder, the same in every channel, as a WAV file of 16 bits."""
    times = np.arange(int(seconds * rate)) / rate
    shape = np.sin(2 * np.pi * pitch * times * (1 + times)) * (0.3 + 0.6 * times / seconds)
    return wav(np.repeat(shape[:, None], channels, axis=1), rate)


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """Samples from -1 to 1, [time, channel], as a WAV file of 16 bits."""
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32_000).astype("<i2").tobytes())
    return kept.getvalue()
