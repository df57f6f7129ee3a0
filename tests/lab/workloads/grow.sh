#!/bin/sh
# Makes a dynamic swiotlb grow: machine `dynamic`, 1 CPU, swiotlb=512,force.
#
# One 4 MiB direct read is split into requests of up to 1.25 MiB (virtio-blk) or 252 KiB (nvme), queued together, each
# of them many maps: more slots at once than the 512 of the start, so the pool grows while the first pass runs.
# Counted with bpftrace on 256 MiB a disk: 1,792 maps by virtio-blk, 65,536 by nvme, 4 runs of swiotlb_dyn_alloc.
set -e
io_tlb_nslabs=/sys/kernel/debug/swiotlb/io_tlb_nslabs
start_slots=$(cat $io_tlb_nslabs)
dd if=/dev/vda bs=4M iflag=direct of=/dev/null status=none
dd if=/dev/nvme0n1 bs=4M iflag=direct of=/dev/null status=none
echo "io_tlb_nslabs $start_slots -> $(cat $io_tlb_nslabs)"
