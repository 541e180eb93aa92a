"""Bytes of a downloaded text file to text, in whatever encoding it was saved."""

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decoded(data: bytes) -> tuple[str, int]:
    """Return the text, and how many of its lines are not UTF-8 and were read as Windows-1252 instead.

    A byte order mark decides where there is one. Lines are decoded one by one, so that one line from another
    program does not garble the others; bytes that Windows-1252 leaves undefined are read as Latin-1.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), 0
    try:
        return data.decode(), 0
    except UnicodeDecodeError:
        lines = [_line(line) for line in data.split(b"\n")]
        return "\n".join(text for text, _ in lines), sum(odd for _, odd in lines)


def _line(line: bytes) -> tuple[str, bool]:
    try:
        return line.decode(), False
    except UnicodeDecodeError:
        try:
            return line.decode("cp1252"), True
        except UnicodeDecodeError:
            return line.decode("latin-1"), True
