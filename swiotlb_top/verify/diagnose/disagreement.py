"""What is known of one disagreement: of which kind it is, where it concerns the allocator, and what a report says."""

from __future__ import annotations

from typing import Final

from swiotlb_top.allocator import Allocator, Hazard, Violation, picture
from swiotlb_top.verify.diagnose.late_calls import places_of
from swiotlb_top.verify.diagnose.unconfirmed import POOL_LIST, Detail, Place, UnconfirmedDisagreement
from swiotlb_top.verify.faults import Fault, worst
from swiotlb_top.verify.findings import Divergence, Orders
from swiotlb_top.verify.linearize.strategy import Linearization
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.observed import ObservedArea, ObservedPoolList
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_CERTAIN: Final = frozenset(
    {Hazard.OUT_OF_BOUNDS, Hazard.MISALIGNED_ADDRESS, Hazard.MISALIGNED_SLOT, Hazard.SPANS_BOUNDARY}
)
"""Broken safety rules for which no other call can be the reason."""


def fault_of(operation: Operation, violations: tuple[Violation, ...], model: Allocator) -> Fault:
    """The kind of a disagreement. The operation is not applied yet.

    :param violations: the safety rules that it breaks.
    """
    if harm := worst(violations):
        return harm
    match operation:
        case SlotSearch():
            return _fault_of_search(operation, model)
        case Release():
            return Fault.RELEASE
        case AddPool():
            return Fault.GROWTH
        case ObservedPoolList():
            return Fault.POOL_LIST
    return Fault.STATE


def _fault_of_search(search: SlotSearch, model: Allocator) -> Fault:
    if search.slot < 0:
        return Fault.FAILED
    if search.pool is None:
        return Fault.UNKNOWN_POOL
    if not search.address_is_right(search.pool, model.revision):
        return Fault.OTHER_ADDRESS
    return Fault.TRANSIENT if search.pool.transient else Fault.OTHER_SLOTS


def places_concerned(operation: Operation, group: list[Operation], model: Allocator) -> frozenset[Place]:
    """The places where a call that is not known may be the reason why an operation disagrees.

    :param group: the operations that it was put in order with, itself included.
    :raises TooManyAreasError: the model's patience is over.
    """
    places = places_of(group, model)
    if model.can_grow or isinstance(operation, ObservedPoolList):
        places.add(POOL_LIST)
    return frozenset(places)


def unconfirmed(
    operation: Operation,
    group: list[Operation],
    places: frozenset[Place],
    violations: tuple[Violation, ...],
    fault: Fault,
    divergence: Divergence | None,
) -> UnconfirmedDisagreement:
    """A disagreement that may still turn out to be the effect of a call that is not known.

    :param group: the operations that it was put in order with, itself included.
    :param places: see :func:`places_concerned`.
    :param violations: the safety rules that it breaks.
    :param fault: its kind.
    :param divergence: what a report says of it, if it may become the first disagreement of its kind.
    """
    hazards = {violation.hazard for violation in violations}
    return UnconfirmedDisagreement(
        begin_ns=min(one.entry_ns for one in group),
        end_ns=max(one.exit_ns for one in group),
        places=places,
        adopted=isinstance(operation, ObservedArea | ObservedPoolList) or Hazard.OVERLAP in hazards,
        is_certain=not _CERTAIN.isdisjoint(hazards),
        safety_violations=len(violations),
        event=operation.event,
        fault=fault,
        divergence=divergence,
    )


def divergence_of(
    operation: Operation,
    group: list[Operation],
    outcome: Linearization,
    expected: str,
    violations: tuple[Violation, ...],
    detail: Detail,
    *,
    number: int,
    agreeing: int,
) -> Divergence:
    """What a report says of a disagreement. The operation is not applied yet.

    :param group: the operations that it was put in order with, itself included.
    :param outcome: the search for an order of these.
    :param expected: what the model would have done, in words.
    :param violations: the safety rules that it breaks.
    :param detail: if it is kept in brief, that is without picture and orders.
    :param number: which operation of the stream it is, from 1.
    :param agreeing: how many agreed before it.
    """
    in_full = detail is Detail.FULL
    place = operation.location() if in_full else None
    return Divergence(
        operation=number,
        agreeing=agreeing,
        time_ns=operation.exit_ns,
        event=operation.event,
        observed=operation.observed(),
        expected=expected,
        violations=violations,
        picture=picture(*place) if place else "",
        orders=_orders(operation, group, outcome) if in_full else None,
    )


def _orders(operation: Operation, group: list[Operation], outcome: Linearization) -> Orders:
    return Orders(
        ordered_with=tuple(other.event for other in group if other is not operation and other.event is not None),
        tried=outcome.dead_ends,
        longest_prefix=tuple(done.event for done in outcome.longest_prefix if done.event is not None),
    )
