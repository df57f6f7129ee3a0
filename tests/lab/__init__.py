"""Kernels in virtual machines, and what swiotlb-top says of them."""
