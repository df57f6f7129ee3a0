"""Where a program's image comes from: as a rule from the shelf, else from the compiler."""

from __future__ import annotations

import platform
from functools import cache
from typing import Final, Protocol

from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile import bpf_files, compiler
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.shelf import Shelf


class Images(Protocol):
    """What has an image for each set of flags, or says why not."""

    def image(self, layout: Layout, flags: tuple[str, ...]) -> Image:
        """The image of ``swiotlb_top.c`` compiled with these flags, which are for the kernel of this layout.

        :raises CannotError: there is none for this kernel or machine.
        :raises UnreadableError: it cannot be read, or not be believed.
        """


class _Compiled:
    """Images as they are wanted, each made once."""

    def image(self, layout: Layout, flags: tuple[str, ...]) -> Image:
        return _image(flags)


COMPILED: Final[Images] = _Compiled()


@cache
def _image(flags: tuple[str, ...]) -> Image:
    return compiled(flags, Shelf())


def compiled(flags: tuple[str, ...], shelf: Shelf) -> Image:
    """The program's image: the shelf's, if the same bcc compiled the same sources with the same flags; else a new one.

    :raises CannotError: the shelf does not have it, and it cannot be compiled.
    """
    with bpf_files.directory() as source:
        ingredients = [platform.machine(), compiler.version(), *bpf_files.texts(source), *flags]
        return shelf.image(ingredients, lambda: compiler.compiled(source, flags))
