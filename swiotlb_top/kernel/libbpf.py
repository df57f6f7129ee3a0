"""libbpf, which libbcc itself is linked with."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from swiotlb_top.errors import CannotError


@cache
def library() -> Any:
    """Loaded once. What it would print, it does not.

    :raises CannotError: there is none.
    """
    try:
        libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise CannotError(f"libbpf is missing: install the distribution's package (Debian: libbpf1): {error}") from None
    libbpf.libbpf_set_print(None)
    return libbpf
