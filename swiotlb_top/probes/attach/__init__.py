"""From a program to probes that run in the kernel."""
