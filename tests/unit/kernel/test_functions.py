"""Return addresses become names of functions, and a stack begins with whoever asked for a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swiotlb_top.kernel.functions import Functions, who_asked

KALLSYMS = """\
ffffffff81000000 T _text
ffffffff81000100 T virtio_queue_rq
ffffffff81000100 d not_a_function
ffffffff81000200 t virtblk_add_req
ffffffff81000300 W blk_mq_dispatch_rq_list
ffffffffc0000000 t nvme_queue_rq\t[nvme]
ffffffffbf000000 t other\t[other]
"""


@pytest.fixture
def kallsyms(tmp_path: Path) -> Path:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    return path


@pytest.fixture
def functions(kallsyms: Path) -> Iterator[Functions]:
    found = Functions(kallsyms)
    yield found
    found.close()


def test_an_address_in_a_function_has_its_name(functions: Functions) -> None:
    assert functions.names([0xFFFFFFFF81000110, 0xFFFFFFFF810002FF]) == ("virtio_queue_rq", "virtblk_add_req")


def test_where_a_function_ends_with_a_call_its_return_address_is_the_next_one_s(functions: Functions) -> None:
    assert functions.names([0xFFFFFFFF81000300]) == ("virtblk_add_req",)


def test_functions_of_modules_are_found_in_whatever_order_they_are_listed(functions: Functions) -> None:
    assert functions.names([0xFFFFFFFFC0000010, 0xFFFFFFFFBF000010]) == ("nvme_queue_rq", "other")


def test_what_is_in_no_function_has_no_name(functions: Functions) -> None:
    assert functions.names([0x1000, 0xFFFFFFFF81200000, 0xFFFFFFFFF0000000]) == ("", "", "")


def test_a_function_that_was_loaded_since_then_is_found(functions: Functions, kallsyms: Path) -> None:
    functions.names([0xFFFFFFFF81000110])
    with kallsyms.open("a") as more:
        more.write("ffffffffd0000000 t late\t[late]\n")
    assert functions.names([0xFFFFFFFFD0000010]) == ("late",)


def test_hidden_addresses_name_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hidden"
    path.write_text("0000000000000000 T _text\n0000000000000000 T virtio_queue_rq\n")
    functions = Functions(path)
    assert functions.names([0xFFFFFFFF81000110]) == ("",)
    functions.close()


def test_a_stack_begins_with_whoever_asked() -> None:
    stack = ("bpf_prog_6deef7357e7b4530", "", "swiotlb_tbl_map_single", "swiotlb_map", "dma_map_page_attrs")
    assert who_asked((*stack, "virtqueue_add", "", "virtio_queue_rq")) == ("virtqueue_add", "?", "virtio_queue_rq")


def test_a_stack_of_nothing_else_is_shown_as_it_is() -> None:
    assert who_asked(("swiotlb_map", "")) == ("swiotlb_map", "?")
    assert who_asked(()) == ()
