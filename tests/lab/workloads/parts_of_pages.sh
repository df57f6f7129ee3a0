#!/bin/sh
# parts_of_pages.sh: what an IOMMU that maps whole pages cannot map as it is (iommu_dma_map_page()): buffers that begin or
# end in the middle of a page, one by one of many sizes, then many at once that begin in the second half.
here=$(dirname "$0")
python3 "$here/unaligned.py" nvme0n1:65536 vda:65536
python3 "$here/readers.py" nvme0n1:4:60:32:1536:2304 vda:4:25:126:512:2560
