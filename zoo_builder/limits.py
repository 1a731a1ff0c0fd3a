"""What files from elsewhere may take: they are measured before they are read into memory."""

import os

from zoo_builder import files
from zoo_builder.errors import InputError


def memory() -> int:
    """This machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def refuse_beyond_memory(what: str, needed: int) -> None:
    """Raises InputError if ``what`` needs more bytes than this machine's memory has."""
    if needed > (there := memory()):
        raise InputError(
            f"{what} would need {files.size_text(needed)} of memory, and this machine has {files.size_text(there)}"
        )
