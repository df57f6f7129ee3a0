"""The steps of the model: what one call of the kernel did, or what one look at its memory showed.

:mod:`~swiotlb_top.verify.operations.base` has the protocol that all of them follow. Three are calls of the kernel:
:mod:`~swiotlb_top.verify.operations.slot_search`, :mod:`~swiotlb_top.verify.operations.release` and
:mod:`~swiotlb_top.verify.operations.pool_add`; :mod:`~swiotlb_top.verify.operations.observed` has what a snapshot of
the kernel's memory showed. :mod:`~swiotlb_top.verify.operations.resolve` makes operations of recorded events.
"""
