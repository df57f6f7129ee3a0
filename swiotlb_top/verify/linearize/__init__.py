"""Is there an order of overlapping operations that the model accepts?"""
