"""Which orders need not be tried: partial-order reduction.

Of orders that lead to the same states, the checker should try few. Two reductions choose its moves:

- *Deferred releases.* A release waits until something needs it: a search that found the slots it frees, or an operation
  that was invoked after its response. This loses nothing, because fewer free slots never keep another search from the
  slots that it found, nor from finding none.
- *Persistent sets* (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996). If some of
  the enabled operations share no area with anything else that can run before they are all done, it is enough to try
  these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView
from itertools import product
from typing import Final

from swiotlb_top.allocator import Allocator
from swiotlb_top.allocator.mapping import Mapping
from swiotlb_top.verify.operations.base import Operation
from swiotlb_top.verify.operations.domains import Domain, touched
from swiotlb_top.verify.operations.pool_add import AddPool
from swiotlb_top.verify.operations.release import Release
from swiotlb_top.verify.operations.slot_search import SlotSearch

_NOTHING_TO_CLEAR: Final[tuple[tuple[int, ...], ...]] = ((),)
_FEWEST_WORTH_REDUCING: Final = 3
"""With fewer enabled operations a persistent set saves less than it costs to find."""


class Reduction:
    """Chooses the moves that are tried from a node of the search.

    Operations are meant by their index in the group.

    :param group: operations that overlap, sorted by response.
    :param forced: those that are applied whatever the model would do.
    :param by_entry: all of them, sorted by invocation.
    """

    def __init__(self, model: Allocator, group: list[Operation], forced: set[int], by_entry: list[int]) -> None:
        self._model = model
        self._group = group
        self._by_entry = by_entry
        self._grows = any(isinstance(operation, AddPool) for operation in group)
        self._domains: dict[int, KeysView[Domain]] = {}
        self.deferred = _deferrable(group, forced)
        """Releases that wait until something needs them."""

    def moves(self, invoked: int, enabled: list[int]) -> Iterator[tuple[int, ...]]:
        """The moves to try from a node: an operation, after the releases that its slots need.

        :param invoked: how many operations were invoked by then.
        :param enabled: those that can be next, sorted by response.
        """
        candidates = [at for at in enabled if at not in self.deferred]
        persistent = self._persistent_set(invoked, candidates)
        if len(candidates) == 0 or (enabled[0] in self.deferred and invoked < len(self._group) and persistent is None):
            yield (enabled[0],)  # an operation is yet to be invoked that waits for the response of this release
        for at in candidates if persistent is None else persistent:
            for clearing in self._clearing_releases(at, enabled):
                yield (*clearing, at)

    def defer_nothing(self) -> None:
        """Try every release at every place from now on."""
        self.deferred = {}

    def _clearing_releases(self, at: int, enabled: list[int]) -> Iterable[tuple[int, ...]]:
        """The deferred releases after which a search's slots are free.

        :returns: one choice or several: several if one mapping could have been released by more than one of them.
        """
        search, deferred = self._group[at], self.deferred
        if not deferred or not isinstance(search, SlotSearch) or search.pool is None:
            return _NOTHING_TO_CLEAR
        pool, slot, nslots = search.pool, search.slot, search.nslots
        if not 0 <= slot < pool.nslabs or pool.free_run(slot) >= nslots:
            return _NOTHING_TO_CLEAR
        in_the_way: dict[Mapping, list[int]] = {}
        for other in enabled:
            release = deferred.get(other)
            if release is None or release.pool is not pool:
                continue
            mapping = release.mapping_at_address()
            if mapping and mapping.slot < slot + nslots and slot < mapping.slot + mapping.nslots:
                in_the_way.setdefault(mapping, []).append(other)
        return product(*in_the_way.values())

    def _persistent_set(self, invoked: int, candidates: list[int]) -> list[int] | None:
        """Candidates that share no area with anything else that could run before they are all done.

        :returns: the set that contains the first candidate, sorted by response; None if there is none that is worth it.
        """
        if len(candidates) < _FEWEST_WORTH_REDUCING or self._grows:
            return None
        group, known, domains_of = self._group, self._domains, self._domains_of
        members, remaining = candidates[:1], candidates[1:]
        domains = set(domains_of(members[0]))
        grew = True
        while grew and remaining:
            apart: list[int] = []
            added: list[KeysView[Domain]] = []
            for at in remaining:
                its_domains = known.get(at) or domains_of(at)
                if domains.isdisjoint(its_domains):
                    apart.append(at)
                else:
                    members.append(at)
                    added.append(its_domains)
            grew, remaining = bool(added), apart
            domains.update(*added)
        first_exit_ns = group[min(members)].exit_ns
        for place in range(invoked, len(group)):
            at = self._by_entry[place]
            if group[at].entry_ns > first_exit_ns:
                break
            if not domains.isdisjoint(domains_of(at)):
                return None
        return sorted(members)

    def _domains_of(self, at: int) -> KeysView[Domain]:
        known = self._domains.get(at)
        if known is None:
            known = self._domains[at] = touched(self._group[at], self._model)
        return known


def _deferrable(group: list[Operation], forced: set[int]) -> dict[int, Release]:
    """The releases that may wait until something needs them."""
    # A forced release may release any mapping that has its slot, also one that is meant for another release.
    forced_in = {release.slot_set for at in forced if isinstance(release := group[at], Release)}
    return {
        at: operation
        for at, operation in enumerate(group)
        if isinstance(operation, Release) and at not in forced and operation.slot_set not in forced_in
    }
