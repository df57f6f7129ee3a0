#!/bin/sh
# busy.sh [PASSES=1]: both disks and the network card at once, at depth: a machine with 4 CPUs.
#
# A pass makes some 10,000 maps: of nvme 8 MiB in pages, 16 a read, by eight readers; of vda 2 MiB in pieces of 512 bytes,
# 128 a read and three more maps each (see counted.sh), by eight more; pages of vda one by one, by four; large requests
# read and written on both (zeros, as all of these disks is). Nobody waits for another between passes. For every eight of
# them a MiB is sent over the network and back.
here=$(dirname "$0")
passes=${1:-1}
each_pass() { for _ in $(seq "$passes"); do "$@"; done; }
read_disk() { dd "if=/dev/$1" "bs=$2" "count=$3" "skip=$4" iflag=direct of=/dev/null status=none; }
write_disk() { dd "of=/dev/$1" "bs=$2" "count=$3" "seek=$4" oflag=direct conv=notrunc if=/dev/zero status=none; }
for _ in $(seq $((passes / 8 + 1))); do
	python3 "$here/transfer.py" 1
done &
python3 "$here/readers.py" nvme0n1 8 $((16 * passes)) 16 4096 &
python3 "$here/readers.py" vda 8 $((4 * passes)) 128 512 &
python3 "$here/readers.py" vda 4 $((128 * passes)) 1 4096 &
for disk in nvme0n1 vda; do
	each_pass read_disk $disk 1M 4 128 &
	each_pass write_disk $disk 1M 4 192 &
done
wait
