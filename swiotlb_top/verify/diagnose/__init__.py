"""One fault, one report: what follows if operations have no order that the model accepts.

:mod:`~swiotlb_top.verify.diagnose.culprits` finds the operations at fault;
:mod:`~swiotlb_top.verify.diagnose.leaked_slots` keeps one leaked slot from being reported again by each later search.
A disagreement is :mod:`~swiotlb_top.verify.diagnose.unconfirmed` until no call that is not known, or that turns up late
(:mod:`~swiotlb_top.verify.diagnose.late_calls`), can be its reason.
"""
