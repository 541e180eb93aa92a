"""The errors of regap; each message names the argument, its value and the remedy."""


class PairError(ValueError):
    """The given pairs cannot be used."""


class ModelError(ValueError):
    """The given model cannot be used."""


class ConfigError(ValueError):
    """A setting, or a run folder, cannot be used."""


class PackError(ValueError):
    """A correction pack, or a stored edit, cannot be used."""


class StoreError(OSError):
    """Results could not be written or read; finished results are kept."""


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, with the next one if it ends in a colon; without a
    message, the kind of error."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
