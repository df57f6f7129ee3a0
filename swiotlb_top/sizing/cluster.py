"""Recordings that outgrow one machine: each is sized by a worker of a Dask cluster, where that is installed."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from swiotlb_top.errors import CannotError, SwiotlbTopError
from swiotlb_top.sizing.sized import Sized

CONNECT_S: Final = 10
"""How long a scheduler is waited for."""

Work: TypeAlias = Callable[[str], Sized]
Over: TypeAlias = Callable[[Work, Sequence[str]], Iterable[Sized]]
"""Does the same to each of several recordings, like ``map()``, which does it here."""


@contextmanager
def over_dask(address: str) -> Iterator[Over]:
    """A cluster, by the address of its scheduler.

    :raises CannotError: Dask is not installed, no scheduler answers, or its workers cannot do it.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise CannotError("--dask needs Dask, which is not installed", "install swiotlb-top[dask]") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said here, in one line
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except Exception as error:  # of the network, of names, of protocols
            raise CannotError(
                f"no Dask scheduler answers at {address}: {_first_line(error)}",
                "name the one that `dask scheduler` says",
            ) from None
        with client:
            yield lambda work, names: _gathered(client, work, names)


def _gathered(client: Any, work: Work, names: Sequence[str]) -> list[Sized]:
    try:
        found: list[Sized] = client.gather(client.map(work, names, pure=False))
    except SwiotlbTopError:
        raise
    except Exception as error:  # of a worker that is gone, or has no swiotlb-top
        raise CannotError(
            f"the Dask cluster did not size them: {_first_line(error)}",
            "its workers need this version of swiotlb-top, and the same files or URLs",
        ) from None
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
