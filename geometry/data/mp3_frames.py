"""The frames of MP3 files that do not store their length: how many there are, and whether the last one is whole."""

from collections.abc import Iterator

KILOBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits a second by their number, for version 1 (3) and for the versions 2 and 2.5."""
RATES = (44_100, 48_000, 32_000)
"""Samples a second by their number, in version 1; half and a quarter of them in the versions 2 and 2.5."""
SLOWER = {3: 1, 2: 2, 0: 4}
STORED = (b"Xing", b"Info", b"VBRI")
"""Marks in the first frame of files that store their length."""


def samples_of(encoded: bytes) -> tuple[int, bool] | None:
    """Return the number of samples in whole frames, and whether the file ends inside a frame.

    None for a file that stores its length, or that does not begin with a frame of layer III.
    """
    place = _after_tag(encoded)
    frames = list(_frames(encoded, place))
    if not frames or any(mark in encoded[place : place + frames[0][0]] for mark in STORED):
        return None
    end = place + sum(length for length, _ in frames)
    whole = frames if end <= len(encoded) else frames[:-1]
    return sum(samples for _, samples in whole), end > len(encoded)


def _frames(encoded: bytes, place: int) -> Iterator[tuple[int, int]]:
    """Yield length in bytes and samples of each frame, the last one also if it is cut."""
    while place + 4 <= len(encoded):
        first, second, third = encoded[place : place + 3]
        version, layer = second >> 3 & 3, second >> 1 & 3
        bits, rate = third >> 4, third >> 2 & 3
        if first != 0xFF or second < 0xE0 or version == 1 or layer != 1 or bits in (0, 15) or rate == 3:
            return
        samples = 1152 if version == 3 else 576
        length = samples * 125 * KILOBITS[3 if version == 3 else 2][bits] * SLOWER[version] // RATES[rate] + (
            third >> 1 & 1
        )
        yield length, samples
        place += length


def _after_tag(encoded: bytes) -> int:
    """Return where the sound begins, after an ID3 tag if there is one."""
    if encoded[:3] != b"ID3" or len(encoded) < 10:
        return 0
    size = 0
    for byte in encoded[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
