"""Why a map failed, on whose failure the model agrees."""

from __future__ import annotations

from swiotlb_top.allocator import Allocator, Limits, Request, explain, unreachable, wrong_kind
from swiotlb_top.verify.findings import Failure, Moment
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.refusal import Refusal
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch


def why_failed(failed: Operation, model: Allocator) -> tuple[Failure, Moment] | None:
    """Why, and how it stood. The model is as the map found it.

    :param failed: the operation that shows the failure: a search that found nothing, a map that was refused before any
        search, or one whose slots were given back at once, or the release that did that.
    """
    if isinstance(failed, Refusal):
        return _of_refusal(failed, model)
    if isinstance(failed, SlotSearch):
        return _of_search(failed, model) if failed.slot < 0 else _of_slots(failed, model)
    return _of_release(failed, model) if isinstance(failed, Release) else None


def _of_refusal(refusal: Refusal, model: Allocator) -> tuple[Failure, Moment]:
    explanation = wrong_kind(model, refusal.cpu, refusal.request, shared=refusal.shared)
    return Failure(refusal.event, refusal.dev, explanation), Moment(model, refusal.cpu, refusal.request)


def _of_search(search: SlotSearch, model: Allocator) -> tuple[Failure, Moment] | None:
    cpu, request = search.cpu, search.request
    if search.other_cpus:
        cpu = next((one for one in search.cpus if model.find_slots(one, request) is None), cpu)
    explanation = explain(model, cpu, request, search.pool, failed=True)
    return (Failure(search.event, search.dev, explanation), Moment(model, cpu, request)) if explanation else None


def _of_slots(search: SlotSearch, model: Allocator) -> tuple[Failure, Moment]:
    """Of a map that found slots, and failed all the same."""
    request = search.request
    size_bytes, reach = request.alloc_size_bytes, request.limits.phys_limit
    explanation = unreachable(model, search.cpu, search.tlb_addr, size_bytes, search.nslots, reach)
    return Failure(search.event, search.dev, explanation), Moment(model, search.cpu, request)


def _of_release(release: Release, model: Allocator) -> tuple[Failure, Moment] | None:
    mapping, cpu = release.mapping, release.event.cpu
    if mapping is None:
        return None
    explanation = unreachable(model, cpu, release.tlb_addr, release.size_bytes, mapping.nslots, release.reach)
    request = Request(mapping.orig_addr, release.size_bytes, 0, Limits())
    return Failure(release.event, release.dev, explanation), Moment(model, cpu, request)
