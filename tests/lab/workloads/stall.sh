#!/bin/sh
# stall.sh [SECONDS=10]: a disk that stops for good: machine `debian`, swiotlb=256,force.
#
# 256 slots are two slot sets of 128 (IO_TLB_SEGSIZE). A request of four segments of 256 KiB needs more than both at
# once, so virtio-blk maps the first, fails, unmaps and tries again for ever. dd would do: but where its buffer's pages
# happen not to lie together, segments are smaller, and other numbers stand in the log. The readers cannot be killed:
# after SECONDS this says where the disk stands and leaves them; the machine is powered off around them.
here=$(dirname "$0")
seconds=${1:-10}
sectors_read() { awk '{ print $3 }' /sys/block/vda/stat; }
for _ in 1 2 3 4; do
	python3 "$here/large.py" vda &
done
sleep "$((seconds / 2))"
half_sectors=$(sectors_read)
sleep "$((seconds - seconds / 2))"
echo "sectors read: $half_sectors after half the time, $(sectors_read) at its end"
dmesg | grep 'swiotlb buffer is full' | tail -n 1
