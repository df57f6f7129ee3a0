"""Traces: what a recorder saw, in one file that is read anywhere later (the format is :mod:`.format`)."""

from swiotlb_top.trace.codecs import Codec
from swiotlb_top.trace.compact import compact
from swiotlb_top.trace.items import End, Header, Item, Known, Records
from swiotlb_top.trace.reader import TraceReader
from swiotlb_top.trace.writer import TraceWriter

__all__ = ["Codec", "End", "Header", "Item", "Known", "Records", "TraceReader", "TraceWriter", "compact"]
