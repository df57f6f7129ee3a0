"""Cases of kernels that the lab does not have, recorded from their own C."""
