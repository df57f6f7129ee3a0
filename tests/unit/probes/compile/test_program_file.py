"""A program file: read as it was written, and refused in words whatever else it is."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swiotlb_top.probes.compile import program_file
from swiotlb_top.probes.compile.program_file import HEAD_BYTES, Made, ProgramFile, made_for, packed, unpacked
from tests.kernels import layout_of
from tests.support.program_files import EXIT, file_for, image_of

WHOLE = packed(file_for(layout_of("debian")))
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)
MACROS = st.frozensets(
    st.tuples(st.from_regex(r"[A-Z_]{1,20}", fullmatch=True), st.from_regex(r"[a-z0-9_.-]{1,20}", fullmatch=True)),
    min_size=1,
    max_size=6,
).filter(lambda macros: len({name for name, _ in macros}) == len(macros))


def head_and_body(raw: bytes) -> tuple[dict[str, Any], Any]:
    _, head, body = raw.split(b"\n", 2)
    return json.loads(head), json.loads(zlib.decompress(body))


def put_together(head: object, body: bytes) -> bytes:
    """A file whose digest is right again."""
    if isinstance(head, dict):
        head = {**head, "body": hashlib.sha256(body).hexdigest()}
    return b"\n".join((b"swiotlb-top program 1", json.dumps(head).encode(), body))


def changed(change: Callable[[dict[str, Any], Any], object]) -> bytes:
    head, body = head_and_body(WHOLE)
    change(head, body)
    return put_together(head, zlib.compress(json.dumps(body).encode()))


@settings(deadline=None)
@given(
    st.builds(Made, machine=WORDS, release=WORDS, btf=DIGESTS, sources=DIGESTS, tool=WORDS, compiler=WORDS),
    st.frozensets(MACROS, min_size=1, max_size=4),
)
def test_it_is_read_as_it_was_written(origin: Made, several: frozenset[frozenset[tuple[str, str]]]) -> None:
    content = ProgramFile(origin, {macros: image_of(tuple(map(str, macros))) for macros in several})
    raw = packed(content)
    assert unpacked(raw) == content
    assert made_for(raw[:HEAD_BYTES]) == origin


def test_the_same_content_gives_the_same_bytes() -> None:
    assert packed(unpacked(WHOLE)) == WHOLE


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "does not begin as one"),
        (b"swiotlb-top program 1", "does not begin as one"),
        (b"SWTRACE1" * 1000, "does not begin as one"),
        (b"swiotlb-top program 2\n{}\n", "another version of swiotlb-top wrote it: build it anew"),
        (b"swiotlb-top program 1\n{}\n", "its second line does not say"),
        (b"swiotlb-top program 1\n{", "its second line does not say"),
        (b"swiotlb-top program 1\n" + b"[" * 100_000, "its second line does not say"),
        (b"swiotlb-top program 1\n" + b"[" * 1500 + b"\n", "its second line does not say"),
        (b"swiotlb-top program 1\n" + b" " * HEAD_BYTES + b"{}\n", "its second line does not say"),
        (WHOLE[:-1], "damaged or cut"),
        (WHOLE + b"\0", "damaged or cut"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_what_is_no_whole_file_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpacked(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("btf", "b" * 63),
        ("btf", "B" * 64),
        ("sources", 1),
        ("machine", "\x1b[2J"),
        ("release", "a\nb"),
        ("release", "\u202e"),
        ("tool", None),
        ("compiler", "x" * 101),
        ("more", "than that"),
    ],
)
def test_what_a_head_cannot_say_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="second line"):
        unpacked(changed(lambda head, _: head.update({name: value})))


BODIES: dict[str, Callable[[list[Any]], object]] = {
    "no programs": lambda body: body.clear(),
    "too many": lambda body: body.extend(body[:1] * 1024),
    "the same twice": lambda body: body.append(body[0]),
    "a macro without a value": lambda body: body[0][0].update({"A": ""}),
    "a macro whose value is a number": lambda body: body[0][0].update({"A": 1}),
    "a macro whose value escapes": lambda body: body[0][0].update({"A": "\x1b[2J"}),
    "a macro whose name is none": lambda body: body[0][0].update({"a b": "1"}),
    "a list in place of macros": lambda body: body[0].__setitem__(0, ["A", "1"]),
    "an image that is no text": lambda body: body[0].__setitem__(1, {"maps": [], "programs": {}}),
    "one thing too many": lambda body: body[0].append(1),
    "a program that is no pair": lambda body: body.append(1),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_nobody_packed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="program"):
        unpacked(changed(lambda _, body: BODIES[name](body)))


def with_image(change: Callable[[dict[str, Any]], object]) -> bytes:
    def alter(_: object, body: Any) -> None:
        image = json.loads(body[0][1])
        change(image)
        body[0][1] = json.dumps(image)

    return changed(alter)


def code(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


IMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no maps": lambda image: image.pop("maps"),
    "maps by name": lambda image: image.update(maps={}),
    "programs in a list": lambda image: image.update(programs=[]),
    "more": lambda image: image.update(more=1),
    "a map that is a number": lambda image: image["maps"].append(1),
    "a map without a size": lambda image: image["maps"][0].pop("value_bytes"),
    "a map of a size that is no number": lambda image: image["maps"][0].update(value_bytes="8"),
    "a map of a size that is true": lambda image: image["maps"][0].update(value_bytes=True),
    "a map of half a byte": lambda image: image["maps"][0].update(value_bytes=0.5),
    "a map that is too large": lambda image: image["maps"][0].update(entries=1 << 31),
    "a map that is smaller than nothing": lambda image: image["maps"][0].update(key_bytes=-1),
    "two maps of one name": lambda image: image["maps"].append(image["maps"][0]),
    "maps that are too large together": lambda image: image["maps"].extend(
        {**image["maps"][0], "name": f"large{number}", "entries": 1, "value_bytes": 1 << 20} for number in range(128)
    ),
    "a map whose name escapes": lambda image: image["maps"][0].update(name="\x1b[2J"),
    "a program whose name is none": lambda image: image["programs"].update({"a/b": code(EXIT)}),
    "code that is no text": lambda image: image["programs"].update(program=[1]),
    "code that is not base64": lambda image: image["programs"].update(program="!"),
    "half an instruction": lambda image: image["programs"].update(program=code(EXIT[:4])),
    "a map that is not there": lambda image: image["programs"].update(program=code(wide(1, 1))),
    "a map of before the first": lambda image: image["programs"].update(program=code(wide(1, -1))),
    "a descriptor by another way": lambda image: image["programs"].update(program=code(wide(2, 0))),
}


def wide(source: int, immediate: int) -> bytes:
    """One instruction in two places."""
    return bytes([0x18, source << 4 | 1, 0, 0]) + immediate.to_bytes(4, "little", signed=True) + bytes(8) + EXIT


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_no_compiler_made_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"map|program|name|base64"):
        unpacked(with_image(IMAGES[name]))


def test_what_unpacks_to_more_than_any_file_has_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_file, "_MOST_UNPACKED_BYTES", 1 << 20)
    bomb = zlib.compress(b"[" + b" " * (8 << 20) + b"]", 9)
    assert len(bomb) < 16 << 10
    with pytest.raises(ValueError, match="no programs, or too many"):
        unpacked(put_together(head_and_body(WHOLE)[0], bomb))


@pytest.mark.parametrize("body", [b"", b"no zlib", zlib.compress(b"[1]")[:-1], zlib.compress(b"[1]") + b"x"])
def test_a_body_that_cannot_be_unpacked_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no programs, or too many"):
        unpacked(put_together(head_and_body(WHOLE)[0], body))


def test_brackets_in_brackets_are_refused() -> None:
    deep = zlib.compress(b"[" * 200_000)
    with pytest.raises(ValueError, match="no programs, or too many"):
        unpacked(put_together(head_and_body(WHOLE)[0], deep))
    with pytest.raises(ValueError, match="brackets in brackets"):
        unpacked(changed(lambda _, body: body[0].__setitem__(1, "[" * 200_000)))


@settings(deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_file_with_a_byte_that_changed_is_never_taken_for_the_same(at: int, by: int) -> None:
    raw = bytearray(WHOLE)
    raw[at] ^= by
    with suppress(ValueError):
        assert unpacked(bytes(raw)).made != unpacked(WHOLE).made


@settings(deadline=None)
@given(st.integers(0, len(WHOLE.split(b"\n", 2)[2]) - 1), st.integers(1, 255))
def test_a_body_with_a_byte_that_changed_is_taken_or_refused_even_if_its_digest_is_right(at: int, by: int) -> None:
    body = bytearray(WHOLE.split(b"\n", 2)[2])
    body[at] ^= by
    with suppress(ValueError):
        assert unpacked(put_together(head_and_body(WHOLE)[0], bytes(body))) == unpacked(WHOLE)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(tail: bytes) -> None:
    for raw in (tail, b"swiotlb-top program 1\n" + tail, put_together(head_and_body(WHOLE)[0], tail)):
        with pytest.raises(ValueError, match=r"program|second line|damaged|does not begin as one"):
            unpacked(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON, JSON)
def test_any_values_are_taken_for_what_they_are_or_refused(first: object, second: object) -> None:
    head, body = head_and_body(WHOLE)
    for said in (first, [first], [[first, second]], [[body[0][0], json.dumps(first)]], [[first, body[0][1]]]):
        with suppress(ValueError):
            content = unpacked(put_together(head, zlib.compress(json.dumps(said).encode())))
            assert unpacked(packed(content)) == content
    with pytest.raises(ValueError, match="second line"):
        unpacked(put_together(first, zlib.compress(b"[]")))
