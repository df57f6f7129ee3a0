"""The judge: does the kernel do what the reference allocator does?"""

from swiotlb_top.verify.findings import NOT_SAMPLED, Divergence, Doubt, Failure, Findings, Verdict
from swiotlb_top.verify.judge import Judge
from swiotlb_top.verify.operations.intervals import NEVER_NS

__all__ = ["NEVER_NS", "NOT_SAMPLED", "Divergence", "Doubt", "Failure", "Findings", "Judge", "Verdict"]
