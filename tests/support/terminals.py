"""What was written on a pseudo-terminal: all of it, however many pieces the kernel hands it over in."""

from __future__ import annotations

import os
from typing import Final

_END: Final = b"\0"


def written_on(terminal: int, reader: int) -> str:
    """All that was written on a terminal, and not read yet. What a stream still holds back has not been written.

    :param terminal: a descriptor of the terminal, where this writes a mark behind it.
    :param reader: the other end, which may block or not.
    """
    os.write(terminal, _END)
    os.set_blocking(reader, True)
    seen = b""
    while not seen.endswith(_END):
        seen += os.read(reader, 4096)
    return seen.removesuffix(_END).decode()
