#!/bin/sh
# busy.sh [PASSES=1]: both disks and the network card at once, at depth: a machine with 4 CPUs.
#
# A pass makes some 10,000 maps: of nvme 16 MiB in pages, 32 a read, by eight readers; of vda 2.5 MiB in pieces of 512
# bytes, 126 a read (as many as virtio-blk takes) and three more maps each (see counted.sh), by eight more; pages of vda
# one by one, by four; large requests read and written on both (zeros, as all of these disks is). Nobody waits for
# another. For every eight passes a MiB is sent over the network and back.
here=$(dirname "$0")
passes=${1:-1}
mebibytes=$((passes < 8 ? 4 * passes : 32)) # at a time
read_disk() { dd "if=/dev/$1" bs=1M "count=$2" skip=128 iflag=direct of=/dev/null status=none; }
write_disk() { dd "of=/dev/$1" bs=1M "count=$2" seek=192 oflag=direct conv=notrunc if=/dev/zero status=none; }
for _ in $(seq $((passes / 8 + 1))); do
	python3 "$here/transfer.py" 1
done &
python3 "$here/readers.py" nvme0n1:8:$((16 * passes)):32:4096 vda:8:$((5 * passes)):126:512 vda:4:$((32 * passes)):1:4096 &
for disk in nvme0n1 vda; do
	for _ in $(seq $(((passes + 7) / 8))); do
		read_disk $disk "$mebibytes"
		write_disk $disk "$mebibytes"
	done &
done
wait
