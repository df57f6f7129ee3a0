"""What is held to be true of swiotlb-top, and the kernels it is tried on."""
