"""One disagreement in a report: the same for machines and for people."""

from __future__ import annotations

from collections.abc import Iterator

from swiotlb_top.events import as_json, in_a_line
from swiotlb_top.reports.context import Call
from swiotlb_top.verify import Divergence, Orders


def disagreement_json(divergence: Divergence, context: tuple[Call, ...]) -> dict[str, object]:
    """All that is known of it.

    :param context: the calls around it.
    """
    orders = divergence.orders
    return {
        "operation": divergence.operation,
        "agreeing_before": divergence.agreeing,
        "time_ns": divergence.time_ns,
        "event": as_json(divergence.event) if divergence.event else None,
        "observed": divergence.observed,
        "expected": divergence.expected,
        "violations": [f"{violation.hazard.value}: {violation.sentence}" for violation in divergence.violations],
        "picture": divergence.picture.splitlines(),
        "ordered_with": [as_json(event) for event in orders.ordered_with] if orders else None,
        "orders_tried": orders.tried if orders else None,
        "furthest_order": [as_json(event) for event in orders.longest_prefix] if orders else None,
        "context": [
            {
                "relation": call.relation,
                "entry_ns": call.entry_ns if call.entry_ns >= 0 else None,
                "exit_ns": call.exit_ns,
                "cpu": call.cpu if call.cpu >= 0 else None,
                "what": call.what,
            }
            for call in context
        ],
    }


def disagreement_lines(divergence: Divergence, context: tuple[Call, ...]) -> Iterator[str]:
    """The same as lines of a page, indented, for a heading to stand above them."""
    yield from both_sides(divergence)
    yield f"  orders:    {_orders(divergence.orders)}"
    if divergence.event:
        yield f"  event:     {in_a_line(divergence.event)}"
    if divergence.picture:
        yield "  the reference's slots there ('.' free, '[' begins a mapping, '>' next search):"
        yield from (f"    {line}" for line in divergence.picture.splitlines())
    if context:
        yield "  around it ('*' overlaps it; entry and exit in microseconds from its exit):"
        yield from (f"    {call.line(divergence.time_ns)}" for call in context)


def both_sides(divergence: Divergence) -> Iterator[str]:
    """What the kernel did, what the reference does, and the harm."""
    yield f"  kernel:    {divergence.observed}"
    yield f"  reference: {divergence.expected}"
    for violation in divergence.violations:
        yield f"  harm:      {violation.hazard.value}: {violation.sentence}"


def _orders(orders: Orders | None) -> str:
    """How many orders of the overlapping operations were tried."""
    if orders is None:
        return "not kept: too many disagreements were not confirmed yet"
    with_ = len(orders.ordered_with)
    if not with_:
        return "nothing in its area overlaps it: there is but one"
    return (
        f"{orders.tried} tried, with {with_} others around that time, and none does; "
        f"the furthest explains {len(orders.longest_prefix)} of {with_ + 1}"
    )
