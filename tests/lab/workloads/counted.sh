#!/bin/sh
# counted.sh [REQUESTS=1009] [DISK=nvme0n1]: a number of maps that is known beforehand (1009 is prime).
#
# Each 2048-byte direct read is one request of one segment, one slot long. What a request maps, counted with bpftrace
# on swiotlb_tbl_map_single by mapping_size, for 1009 of them, while an idle machine maps nothing:
#   nvme0n1  1009 x 2048: the data, and nothing else (queues and PRP lists are coherent memory)
#   vda      1009 each of 16 (virtio_blk_outhdr), 2048 (data), 1 (status) and 48 (indirect table of 3 descriptors)
# So maps = REQUESTS on nvme0n1 and 4 * REQUESTS on vda.
set -e
requests=${1:-1009}
disk=${2:-nvme0n1}
case $disk in
nvme0n1) maps=$requests ;;
vda) maps=$((4 * requests)) ;;
*) echo "counted.sh: nothing known about $disk" >&2 && exit 2 ;;
esac
dd "if=/dev/$disk" bs=2048 "count=$requests" iflag=direct of=/dev/null status=none
echo "maps $maps"
