"""What is wrong with swiotlb on a machine, as findings: pure rules over what was watched.

A rule (:mod:`swiotlb_top.findings.rules`) looks at :class:`~swiotlb_top.findings.watched.Watched` and says nothing, or
gives a :class:`~swiotlb_top.accounting.finding.Finding`: what is wrong, the evidence in numbers, and what helps.
:class:`~swiotlb_top.findings.noticing.Noticing` notes findings in frames. Nothing here reads a kernel or a file.
"""
