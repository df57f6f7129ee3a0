"""See what the kernel's bounce-buffer allocator is doing, and know that what you see is right."""

__version__ = "0.1.0"
