"""libbpf, which libbcc itself is linked with."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from swiotlb_top.errors import CannotError


@cache
def library() -> Any:
    """libbpf, loaded once and kept from printing.

    :raises CannotError: it is not installed.
    """
    try:
        libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise CannotError(f"libbpf is missing: install the distribution's package (Debian: libbpf1): {error}") from None
    libbpf.libbpf_set_print(None)
    return libbpf
