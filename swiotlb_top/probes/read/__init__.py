"""What the attached program tells: records, counters, calls under way, and the allocator's state."""
