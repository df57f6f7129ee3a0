"""The kernels' own C, compiled for this process, and the reference held against it."""
