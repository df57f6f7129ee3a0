"""Shows a snapshot of swiotlb to Prometheus."""
