"""What it costs: events a second, and instructions in the kernel."""
