"""The common base of the package's own errors; importing it costs nothing."""


class MmgenError(Exception):
    """What went wrong, in words that say what to do about it."""


class DownloadError(MmgenError, RuntimeError):
    """Weights of others that are needed could not be fetched, or not read."""
