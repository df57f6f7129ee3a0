"""Is there an order of overlapping operations that the model accepts?

:func:`~swiotlb_top.verify.linearize.strategy.linearize` answers: begin there.
"""
