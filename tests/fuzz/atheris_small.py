"""The recordings of :mod:`.small`, guided by coverage: ``python -m tests.fuzz.atheris_small [MINUTES [FLAGS]]``.

atheris keeps what reaches lines that nothing reached before, and goes on from there. Most inputs come of the mutations
of :mod:`.mutate`, which know what a recording is made of; the others are changed bytes, of which the checksums are
mended, so that more than the reader's first look is reached. It is installed with the extra ``fuzz``.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports():
    from tests.fuzz.small import MOST_BYTES, Target, mended, originals, scratch

from tests.fuzz.mutate import mutated, put_together, taken_apart

_KNOWN: Final = 0.8
"""Of so many inputs the mutation knows what a recording is made of."""


class Mutator:
    """Makes another input of one.

    :param path: where an input is written to, to be taken apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, content: bytes, most_bytes: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 (it has to be the same again)
        if chance.random() < _KNOWN:
            with suppress(Exception):  # not every input is a recording that can be taken apart
                self._path.write_bytes(content)
                made = put_together(mutated(taken_apart(self._path), chance))
                if len(made) <= most_bytes:
                    return made
        return mended(bytes(atheris.Mutate(content, most_bytes)))


def main(arguments: list[str]) -> None:
    """Try as long as the first argument says, in minutes; the others are flags of libFuzzer."""
    minutes = float(arguments[0]) if arguments else 60.0
    with scratch() as directory:
        corpus = directory / "corpus"
        corpus.mkdir()
        for name, content in originals().items():
            (corpus / name).write_bytes(content)
        limits: list[Any] = [f"-max_total_time={int(minutes * 60)}", f"-max_len={MOST_BYTES}", "-timeout=30"]
        mutator = Mutator(directory / "taken-apart.swtrace")
        command = ["fuzz", *limits, *arguments[1:], str(corpus)]
        atheris.Setup(command, Target(directory / "trying.swtrace"), custom_mutator=mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
