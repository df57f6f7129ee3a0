"""How large swiotlb must be: the demand of recordings, held against other configurations.

:mod:`~swiotlb_top.sizing.demand` says what was asked for, and from when to when;
:mod:`~swiotlb_top.sizing.retries` makes one need of a buffer that is tried again and again.
:mod:`~swiotlb_top.sizing.bounds` has two bounds that hold for every size (docs/sizing.md proves
them), and :mod:`~swiotlb_top.sizing.simulate` asks the reference allocator about the sizes between.
"""
