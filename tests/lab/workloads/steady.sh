#!/bin/sh
# steady.sh: both disks and the network card for as long as the machine is on, and no CPU busy without a pause: on an
# emulated machine whose CPUs run in turns, one that never waits keeps all others waiting.
here=$(dirname "$0")
always() { while :; do "$@"; done; }
read_disk() { dd "if=/dev/$1" "bs=$2" "count=$3" "skip=$4" iflag=direct of=/dev/null status=none; }
python3 "$here/transfer.py" 1000 0.3 &
always read_disk nvme0n1 4k 4000 0 &
always read_disk nvme0n1 16k 1000 1000 &
always read_disk vda 4k 4000 0 &
always read_disk vda 64k 500 1000 &
wait
