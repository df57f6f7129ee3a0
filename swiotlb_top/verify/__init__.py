"""The judge: does the kernel do what the reference allocator does?

**What is checked.** A recording is a *history*: for each call of the kernel its *invocation* (``entry_ns``), its
*response* (``exit_ns``) and its result. The *model* is the sequential specification, :mod:`swiotlb_top.allocator`. The
call took effect somewhere in between, so calls that overlap can have done so in any order. The history is
*linearizable* if, for one of these orders, the model finds the very slots that the kernel found. Then the operations
*agree*; if it is proved that there is no such order, the culprits *disagree*. Two more checks need no order: no two
mappings overlap and each keeps to its limits (the ledger), and state that is read later is equal to the model's.

**An example**: an area of four slots, of which 0 and 1 are in use, and which is searched next from slot 2::

    CPU 0  |------ map A: slot 2 -----|                      In the order of responses - B, A, X, C - the model would
    CPU 1     |--- map B: slot 0 --|                         find slot 2 for B. But A, C, X, B is a linearization: A
    CPU 2    |-- unmap X: slot 0 ----------|                 and C take slots 2 and 3, X frees slot 0, and B's search
    CPU 3  |-- map C: slot 3 -------------------|            comes round to it. All four agree.
           ------------------------------------------> time

Had X been invoked after B's response, no order would do, and B would disagree. Without the record of C, B would be
inconclusive: a call that was not seen may have taken slot 3.

**Why areas are independent.** Each area has its own lock, and no call holds two. So a history is linearizable if its
part on each area is (locality). It is cut by time, wherever no call is pending, and by area, and each part is put in
order by itself (:mod:`~swiotlb_top.verify.partition`): a few calls at a time. Calls tie areas together in two cases. A
search for slots visits other areas before its own and is not atomic (:mod:`~swiotlb_top.verify.linearize.area_scan`);
and a pool that is added changes the list that all searches read.

**What makes the answer inconclusive.** The judge never guesses. It does not know the state before the first snapshot,
after lost events, and in areas that calls changed while they were copied (:mod:`~swiotlb_top.verify.bootstrap`). A
record may lack something: the device's limits, the pool, the invocation. There may be too many orders to try. And a
disagreement only counts once no pending call can be the reason (:mod:`~swiotlb_top.verify.diagnose.unconfirmed`).
:class:`~swiotlb_top.verify.findings.Doubt` has all reasons.

**Which kernel it is** may not show in what is in it, nor in its release. Then each that it may be is judged by, side by
side (:mod:`~swiotlb_top.verify.candidates`). Whoever the kernel disagrees with it is not. It agrees with those that are
left, and disagrees only when none is; a kernel that is like none that is known is unknown, and all is inconclusive.

**Where it is**: each layer uses those below it only.

============  ========================================================================================================
candidates    a judge for each kernel that it may be, until one is left
judge         stream in, findings out: resolves events, cuts them into clusters
waiting       what was fed, until nothing to come can overlap it
comparison    one model from one state on: judges clusters, counts what agrees
in_core       calls that overlap no other, many at once in the native core (docs/native.md)
bootstrap     from a torn snapshot to a known state · ``partition``: independent sub-histories
diagnose/     no order: the culprits, leaked slots, and what may still be the effect of another call
linearize/    is there an order? A depth-first search with memoised states, and which moves it need not try
operations/   the steps of the model, and how a record becomes one
findings      verdict, counts, the first disagreement of each kind, reasons of doubt
faults        the kinds of disagreement
============  ========================================================================================================
"""

from swiotlb_top.verify.candidates import SideBySide
from swiotlb_top.verify.faults import MEANINGS, Fault
from swiotlb_top.verify.findings import (
    NOT_SAMPLED,
    Divergence,
    Doubt,
    Failure,
    Findings,
    Listener,
    Moment,
    Orders,
    Verdict,
)
from swiotlb_top.verify.judge import Judge
from swiotlb_top.verify.operations.intervals import NEVER_NS

__all__ = [
    "MEANINGS",
    "NEVER_NS",
    "NOT_SAMPLED",
    "Divergence",
    "Doubt",
    "Failure",
    "Fault",
    "Findings",
    "Judge",
    "Listener",
    "Moment",
    "Orders",
    "SideBySide",
    "Verdict",
]
