"""Probes first, state second: what is put into the kernel, and what it tells."""
