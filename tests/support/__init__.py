"""What tests are made with: recordings, hand-made histories, and kernels that run in this process."""
