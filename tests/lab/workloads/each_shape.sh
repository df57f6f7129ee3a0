#!/bin/sh
# each_shape.sh: requests of every shape, where revisions differ: two disks, two CPUs, any number of slots.
#
# First single maps of one slot and of a page, by which vda's next slot is now odd and now even. Then a crowd that a pool
# that grows has no room for. Then buffers that begin anywhere in their page, many at once. No segment of vda's that
# begins at an odd slot is longer than 64 KiB: up to 6.8, a longer one has no place, and is asked for without an end.
here=$(dirname "$0")
sh "$here/counted.sh" 101 vda
dd if=/dev/vda of=/dev/null bs=4096 count=101 iflag=direct status=none
sh "$here/counted.sh" 101 nvme0n1
python3 "$here/crowd.py" nvme0n1 4 2
python3 "$here/unaligned.py" nvme0n1 vda:65536 >/dev/null &
python3 "$here/readers.py" nvme0n1:8:8:16:4096 vda:4:4:126:512 vda:4:256:1:4096 &
for disk in nvme0n1 vda; do
	dd "if=/dev/$disk" bs=1M count=4 skip=128 iflag=direct of=/dev/null status=none &
	dd "of=/dev/$disk" bs=1M count=4 seek=192 oflag=direct conv=notrunc if=/dev/zero status=none &
done
wait
