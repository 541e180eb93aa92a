"""The errors that regap raises for what it is given; each message names the argument, its value and the remedy."""


class PairError(ValueError):
    """The pairs given cannot be used."""


class ModelError(ValueError):
    """The model given cannot be used."""


class ConfigError(ValueError):
    """A setting, or a run folder, cannot be used."""


class PackError(ValueError):
    """A correction pack, or a stored edit, cannot be used."""


class StoreError(OSError):
    """Results could not be written or read; what was finished is kept."""
