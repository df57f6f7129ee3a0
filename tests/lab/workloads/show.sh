#!/bin/sh
# show.sh PYTHON: bouncing I/O in the background, the live screen in front, until q (machine `debian`: a stalled disk).
if [ "$SWIOTLB_LAB_KERNEL" = debian ]; then
	for _ in 1 2 3 4; do
		dd if=/dev/vda bs=1M iflag=direct of=/dev/null status=none &
	done
else
	# Begins when the screen is up, and leaves it some of an emulated machine.
	for disk in vda nvme0n1; do
		(
			sleep 10
			while :; do
				dd "if=/dev/$disk" bs=1M count=16 iflag=direct of=/dev/null status=none
				sleep 0.5
			done
		) &
	done
fi
echo 'starting swiotlb-top: the BPF program is compiled, which takes some seconds under emulation'
exec "$1" -m swiotlb_top
