#!/bin/sh
# while_it_runs.sh COMMAND...: runs COMMAND to its end, or until it stands still: in five seconds neither a sector was
# read, nor has one of its processes run. A machine that is slow, or has slow disks, is not taken for one that stands.
#
# Says which of the two it was. Readers of a disk that stands still cannot be killed: they are left to the machine's end.
setsid "$@" &
command=$!
progress() {
	cat /sys/block/vda/stat /sys/block/nvme0n1/stat | awk '{ sum += $3 } END { print sum }'
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v session=$command '$6 == session { sum += $14 + $15 } END { print sum }'
}
still=0
before=$(progress)
while kill -0 "$command" 2>/dev/null; do
	if [ "$still" -ge 5 ]; then
		echo stands still
		exit
	fi
	sleep 1
	now=$(progress)
	if [ "$now" = "$before" ]; then still=$((still + 1)); else still=0; fi
	before=$now
done
wait "$command" && echo ended
