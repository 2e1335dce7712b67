"""What a stage says instead of a traceback. Alone in its file, so that the workflow can read it without HDF5."""


class DataError(ValueError):
    """A file or a value that a stage cannot work with; its text is one line that names it."""
