"""From what a kernel has to a program for it: which hook goes where, compiled, and kept."""
