"""Programs that somebody gave in a file: loaded without a compiler, where they are for this kernel and to be trusted.

A file that somebody other than root or this user could have written is not loaded: its programs read the kernel's
memory.
"""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swiotlb_top import __version__
from swiotlb_top.errors import CannotError, UnreadableError
from swiotlb_top.kernel import layout as kernel_layout
from swiotlb_top.kernel.layout import Layout
from swiotlb_top.probes.compile import bpf_files, differences, program_file
from swiotlb_top.probes.compile.flags import macros_of
from swiotlb_top.probes.compile.image import Image
from swiotlb_top.probes.compile.images import COMPILED, Images
from swiotlb_top.probes.compile.program_file import Made, ProgramFile
from swiotlb_top.probes.compile.trust import is_trusted

_BUILD: Final = "swiotlb-top program build makes one for it"
_SHOWN: Final = 3
"""So many kernels of a directory's files are named."""


@dataclass(frozen=True, slots=True)
class Given:
    """The programs of a file, or of that file in a directory which is for this kernel.

    What is there is read whenever an image is asked for, so that a file may be replaced meanwhile.
    """

    path: Path

    def image(self, layout: Layout, flags: tuple[str, ...]) -> Image:
        path = _for_this_kernel(self.path) if self.path.is_dir() else self.path
        content = read(path, trusted=True)
        _refuse(path, content.made)
        wanted = macros_of(flags)
        found = content.images.get(wanted)
        if found is None:
            difference = differences.named(content.images, wanted, layout)
            raise CannotError(f"the programs in {path} are not for this kernel: {difference}", _BUILD)
        return found


def images(path: Path | None) -> Images:
    """What has the program compiled: a file or directory that was given; None: the compiler."""
    return COMPILED if path is None else Given(path)


def read(path: Path, *, trusted: bool = False) -> ProgramFile:
    """A program file.

    :param trusted: whether nobody but root and this user may have written it.
    :raises UnreadableError: it cannot be read, is none, or is to be trusted and cannot be.
    """
    raw = _bytes(path, program_file.MOST_BYTES + 1, trusted=trusted)
    if len(raw) > program_file.MOST_BYTES:
        raise UnreadableError(f"{path} is no program file: it is larger than {program_file.MOST_BYTES >> 20} MiB")
    try:
        return program_file.unpacked(raw)
    except ValueError as error:
        raise UnreadableError(f"{path} is not taken as a program file: {error}") from None


def _bytes(path: Path, most: int, *, trusted: bool) -> bytes:
    """The beginning of a file. :raises UnreadableError: as :func:`read`."""
    try:
        # A pipe that nobody writes to is not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{path} is not taken as a program file: it is no regular file")
            if trusted and not is_trusted(status):
                raise UnreadableError(
                    f"{path} is not loaded, as others than root and this user can write it; chown root and chmod 644 it"
                )
            return file.read(most)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a name with a zero byte
        raise UnreadableError(f"cannot read a program file: {error}") from None


def _refuse(path: Path, made: Made) -> None:
    """Refuse what is not for this machine, or not for this tool.

    :raises CannotError: it is one of these.
    """
    machine = platform.machine()
    if made.machine != machine:
        raise CannotError(f"the programs in {path} are for {made.machine}, and this machine is {machine}", _BUILD)
    if made.sources != bpf_files.digest():
        raise CannotError(
            f"the programs in {path} were compiled from the sources of another swiotlb-top ({made.tool}), and this is "
            f"{__version__}",
            "swiotlb-top program build of this one makes them anew",
        )


def _for_this_kernel(directory: Path) -> Path:
    """The file that is for this kernel's build, and if possible for this tool.

    :raises CannotError: there is none.
    :raises UnreadableError: the directory cannot be read, or the kernel's types cannot.
    """
    build = kernel_layout.build()
    told = dict(_told(directory))
    fitting = [path for path, made in told.items() if made and made.btf == build]
    if not fitting:
        raise CannotError(
            f"no file in {directory} is for this kernel ({os.uname().release}): there are {_listed(told)}", _BUILD
        )
    sources = bpf_files.digest()
    return next((path for path in fitting if (made := told[path]) and made.sources == sources), fitting[0])


def _told(directory: Path) -> Iterator[tuple[Path, Made | None]]:
    """Each program file in a directory, and what it says it is for; None: it cannot be read, or is not trusted."""
    try:
        paths = sorted(directory.glob(f"*{program_file.SUFFIX}"))
    except OSError as error:
        raise UnreadableError(f"cannot read {directory}: {error.strerror}") from None
    for path in paths:
        try:
            yield path, program_file.made_for(_bytes(path, program_file.HEAD_BYTES, trusted=True))
        except (UnreadableError, ValueError):
            yield path, None


def _listed(told: dict[Path, Made | None]) -> str:
    """What there is, in words."""
    names = [path.name for path, made in told.items() if made]
    unknown = len(told) - len(names)
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    cannot = [f"{unknown} that cannot be read or not be trusted"] if unknown else []
    return ", ".join([*names[:_SHOWN], *more, *cannot]) or f"no files *{program_file.SUFFIX}"
