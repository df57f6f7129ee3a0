"""``swiotlb-top man``: the manual page, made of what the commands, keys and fields say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from swiotlb_top import __version__
from swiotlb_top.errors import Exit

_ENDINGS = (
    (Exit.OK, "All is well, or kernel and reference agree, or the command did what it was asked to."),
    (
        Exit.DISAGREE,
        "Kernel and reference disagree. With -n also: maps fail or failed, or the pools are nearly full. Of why: the "
        "log tells of trouble. Of diff: the recordings differ.",
    ),
    (Exit.USAGE, "The command line asks for what is not there."),
    (Exit.CANNOT, "This machine, its kernel or this user's privileges do not allow it."),
    (Exit.UNREADABLE, "An input file cannot be read, or not be believed."),
    (Exit.INCONCLUSIVE, "Nothing bad is known, but something that could be bad is not known. What that is, is said."),
    (Exit.FAULT, "swiotlb-top itself failed. Please report it."),
    (Exit.OUTPUT, "Standard output cannot be written."),
    (
        "record -- COMMAND",
        "The exit status of the command, or 128+N where signal N ended it, be it one that swiotlb-top sent. Where "
        "recording fails, it is one of those above, and a line on standard error begins with swiotlb-top:.",
    ),
)
_ENVIRONMENT = (
    (
        "SWIOTLB_TOP_EXPORT_...",
        "Options of export that the command line does not set, by their names in capitals: "
        "SWIOTLB_TOP_EXPORT_WEB_LISTEN_ADDRESS is --web.listen-address. Several values have blanks between them, "
        "and 1 sets a flag.",
    ),
    (
        "SWIOTLB_TOP_TRACEBACK",
        "The file that gets the traceback where swiotlb-top itself fails. Default: none.",
    ),
    (
        "SWIOTLB_TOP_BTF",
        "A file with the types (BTF) of the kernel that runs, for one that was built without. Default: a vmlinux of "
        "the same build, in /boot or /usr/lib/debug.",
    ),
    ("COLUMNS", "The width of plain frames that do not go to a terminal. Without it they are not wrapped."),
    ("NO_COLOR", "Where it is set, the screen has no colours."),
    ("XDG_CACHE_HOME", "Where compiled probes are kept, in swiotlb-top/programs. Without it: ~/.cache."),
    ("XDG_CONFIG_HOME", "Where columns and orders are kept, in swiotlb-top/config.toml. Without it: ~/.config."),
)


@click.command(hidden=True)
@click.pass_context
def man(context: click.Context) -> Exit:
    """Print the manual page, swiotlb-top(1), as roff."""
    root = context.find_root()
    assert isinstance(root.command, click.Group)  # noqa: S101 (this is one of its commands)
    click.echo("\n".join(page(root.command, root)))
    return Exit.OK


def page(group: click.Group, context: click.Context) -> Iterator[str]:
    """swiotlb-top(1), line by line."""
    yield f'.TH SWIOTLB-TOP 1 "" "swiotlb-top {__version__}" "User Commands"'
    yield from _section("NAME")
    yield _text("swiotlb-top - see the kernel's bounce-buffer allocator at work, checked by a reference allocator")
    yield from _section("SYNOPSIS")
    commands = list(_commands(group, context))
    for command in (context, *commands):
        yield from _synopsis(command)
    yield from _section("DESCRIPTION")
    yield from _description(group)
    yield from _section("OPTIONS")
    yield from _options(group, context)
    yield from _section("COMMANDS")
    for command in commands:
        yield f".SS {_words(command)}"
        yield from _description(command.command)
        yield from _options(command.command, command)
    yield from _keys()
    yield from _fields()
    yield from _section("EXIT STATUS")
    for status, meaning in _ENDINGS:
        yield from _item(status if isinstance(status, str) else str(int(status)), meaning)
    yield from _section("ENVIRONMENT")
    for variable, meaning in _ENVIRONMENT:
        yield from _item(variable, meaning)
    yield from _section("EXAMPLES")
    for command in (context, *commands):
        yield from _examples(command.command)


def _commands(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    """Every command, also those of a command that only holds others."""
    for name in group.list_commands(context):
        command = group.commands[name]
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        elif not command.hidden:
            yield inner


def _words(context: click.Context) -> str:
    """What a command is called by, after the tool's own name."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(names)


def _synopsis(context: click.Context) -> Iterator[str]:
    words, pieces = _words(context), context.command.collect_usage_pieces(context)
    yield f"\\fBswiotlb\\-top{f' {_text(words)}' if words else ''}\\fR {_text(' '.join(pieces))}"
    yield ".br"


def _description(command: click.Command) -> Iterator[str]:
    for number, paragraph in enumerate((command.help or "").split("\n\n")):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            yield from _item(*record)


def _keys() -> Iterator[str]:
    from swiotlb_top.tui.keys import KEYS, PLAY_KEYS

    yield from _section("KEYS")
    for key in KEYS:
        yield from _item(key.shown, key.help)
    yield ".PP"
    yield "Where a recording is shown:"
    for key in PLAY_KEYS:
        yield from _item(key.shown, key.help)


def _fields() -> Iterator[str]:
    from swiotlb_top.accounting import fields
    from swiotlb_top.accounting.words import SECTIONS

    yield from _section("WORDS")
    for title, words in SECTIONS:
        yield f".SS {title}"
        for word, meaning in words.items():
            yield from _item(word, meaning)
    yield from _section("FIELDS")
    tables: tuple[tuple[str, Sequence[fields.Field[Any]]], ...] = (
        ("Above the tables", fields.TOTALS),
        ("Devices", fields.DEVICES),
        ("Pools", fields.POOLS),
        ("Failures", fields.FAILURES),
    )
    for title, table in tables:
        yield f".SS {title}"
        for field in table:
            meaning = f"{field.help} In {field.unit.value}; {field.origin.value}. In JSON: {field.name}."
            yield from _item(field.title, meaning)


def _examples(command: click.Command) -> Iterator[str]:
    lines = (command.epilog or "").partition("Examples:\n")[2].splitlines()
    yield ".nf"
    yield from (_text(line.strip()) for line in lines)
    yield ".fi"


def _section(name: str) -> Iterator[str]:
    yield f".SH {name}"


def _item(term: str, meaning: str) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_text(term)}\\fR"
    yield _text(meaning)


def _text(words: str) -> str:
    """Words with what roff would take for its own made harmless."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
