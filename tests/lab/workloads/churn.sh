#!/bin/sh
# churn.sh: transient pools by the hundred, then many small maps: a dynamic kernel, 1 CPU, swiotlb=512,force.
#
# A crowd wants far more at once than there is, and the pool grows by no more than its first size at a time: meanwhile
# each map has a transient pool of its own, whose address a later one has again.
here=$(dirname "$0")
python3 "$here/crowd.py" vda 16 3 &
python3 "$here/crowd.py" nvme0n1 16 3 &
wait
dd if=/dev/nvme0n1 bs=4M count=16 iflag=direct of=/dev/null status=none
