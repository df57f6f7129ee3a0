"""Traces: what a recorder saw, in one file that can be read later on any machine (:mod:`.format` has the format)."""

from swiotlb_top.trace.items import End, Header, Item, Known, Records
from swiotlb_top.trace.reader import TraceReader, is_recording, whole
from swiotlb_top.trace.sink import Sink
from swiotlb_top.trace.writer import TraceWriter

__all__ = ["End", "Header", "Item", "Known", "Records", "Sink", "TraceReader", "TraceWriter", "is_recording", "whole"]
