"""A file that has its name only when it is whole.

It is written as ``NAME.partial``, private to its owner, and renamed at the end; a recorder that
dies leaves the ``.partial`` behind, which reads as a truncated trace.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from swiotlb_top.errors import CannotError

PARTIAL_SUFFIX: Final = ".partial"


class PartialFile:
    """``path`` under construction. It is a binary file for writing, unbuffered.

    :raises CannotError: ``path`` or its ``.partial`` exists, or cannot be created in that directory.
    """

    def __init__(self, path: Path) -> None:
        if not path.name:  # "/" and "."
            raise CannotError(f"{path} is a directory; name a file in it")
        self._path = path
        self.partial_path: Final = path.with_name(path.name + PARTIAL_SUFFIX)
        self._refuse_to_replace()
        try:
            fd = os.open(self.partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise CannotError(
                f"{self.partial_path} exists: another recorder writes it, or one did not finish; "
                "move it away or choose another name"
            ) from None
        except OSError as error:
            raise CannotError(
                f"cannot create {self.partial_path}: {error.strerror}; choose another directory"
            ) from None

        self._file = os.fdopen(fd, "wb", buffering=0)

    def _refuse_to_replace(self) -> None:
        if os.path.isdir(self._path):  # not Path.is_dir(), which raises where a parent may not be searched
            raise CannotError(f"{self._path} is a directory; name a file in it")
        if os.path.lexists(self._path):
            raise CannotError(f"{self._path} exists; choose another name, or remove it first")

    def write(self, data: bytes) -> None:
        """Write all of ``data``. :raises OSError: as the system says."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Leave the file as ``.partial``."""
        self._file.close()

    def commit(self) -> None:
        """Write the file to disk (fsync) and rename it to ``path``.

        :raises CannotError: somebody has created ``path`` meanwhile; the ``.partial`` stays.
        :raises OSError: as the system says; the ``.partial`` stays.
        """
        # Data first, name second: if the machine dies here, no incomplete file has the final name.
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
        # Between this check and the rename another program could still create path; not another
        # recorder, which O_EXCL on the .partial keeps away.
        self._refuse_to_replace()
        os.rename(self.partial_path, self._path)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.partial_path.unlink(missing_ok=True)
