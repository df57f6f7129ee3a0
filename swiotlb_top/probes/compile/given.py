"""Programs that somebody gave in a file: loaded without a compiler, where they are for this kernel and to be trusted.

A file that somebody other than root or this user could have written is not loaded: its programs read the kernel's
memory.
"""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

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

_Content = TypeVar("_Content")
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
        path = _for_this_kernel(self.path) if _is_directory(self.path) else self.path
        raw = raw_of(path, trusted=True)
        _refuse(path, _understood(path, program_file.made_for, raw))
        content = unpacked(path, raw)
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
    """A program file's content. :raises UnreadableError: as :func:`raw_of` and :func:`unpacked`."""
    return unpacked(path, raw_of(path, trusted=trusted))


def raw_of(path: Path, *, trusted: bool = False) -> bytes:
    """A program file, for :func:`unpacked`.

    :param trusted: whether nobody but root and this user may have written it.
    :raises UnreadableError: it cannot be read, is too large for one, or is to be trusted and cannot be.
    """
    raw = _bytes(path, program_file.MOST_BYTES + 1, trusted=trusted)
    if len(raw) > program_file.MOST_BYTES:
        raise UnreadableError(f"{path} is no program file: it is larger than {program_file.MOST_BYTES >> 20} MiB")
    return raw


def unpacked(path: Path, raw: bytes) -> ProgramFile:
    """What was read from a file. :raises UnreadableError: it is no program file."""
    return _understood(path, program_file.unpacked, raw)


def _understood(path: Path, understand: Callable[[bytes], _Content], raw: bytes) -> _Content:
    try:
        return understand(raw)
    except ValueError as error:
        raise UnreadableError(f"{path} is not taken as a program file: {error}") from None


def _is_directory(path: Path) -> bool:
    """Whether it is one. What is wrong with a path that leads nowhere is said where it is opened."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _bytes(path: Path, most: int, *, trusted: bool) -> bytes:
    """The beginning of a file. :raises UnreadableError: as :func:`read`."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
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


def _without_waiting(path: str, flags: int) -> int:
    """A descriptor of a file, even of a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


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
        names = sorted(name for name in os.listdir(directory) if name.endswith(program_file.SUFFIX))
    except OSError as error:
        raise UnreadableError(f"cannot read {directory}: {error.strerror}") from None
    for path in (directory / name for name in names):
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
