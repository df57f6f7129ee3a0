#!/bin/sh
# busy.sh [PASSES=1]: both disks and the network card at once, at depth: a machine with 4 CPUs.
#
# A pass makes some 42,000 maps: 64 MiB of nvme in pages by four readers, 16 MiB of vda in pages by four more (four maps
# each, see counted.sh), large requests read and written on both (zeros, as all of these disks is), and 4 MiB sent over
# the network and back.
here=$(dirname "$0")
read_disk() { dd "if=/dev/$1" "bs=$2" "count=$3" "skip=$4" iflag=direct of=/dev/null status=none; }
write_disk() { dd "of=/dev/$1" "bs=$2" "count=$3" "seek=$4" oflag=direct conv=notrunc if=/dev/zero status=none; }
for _ in $(seq "${1:-1}"); do
	python3 "$here/transfer.py" 4 &
	for part in 0 1 2 3; do
		read_disk nvme0n1 4k 4096 $((part * 4096)) &
		read_disk vda 4k 1024 $((part * 1024)) &
	done
	read_disk vda 1M 32 128 &
	read_disk nvme0n1 1M 32 128 &
	write_disk vda 1M 32 64 &
	write_disk nvme0n1 1M 32 64 &
	wait
done
