"""From the name of a kernel to a command that runs in a machine of its own."""
