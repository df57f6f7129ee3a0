#!/bin/sh
# hotplug.sh COMMAND...: runs COMMAND again and again while CPUs go and come: a machine with 4, of which 0 and 1 are on
# (maxcpus=2). First 3 comes, then 1 goes (0 and 3 are left), 2 comes, 1 is back, 3 goes; then COMMAND may end.
set -e
switch() {
	sleep 2
	echo "$2" >"/sys/devices/system/cpu/cpu$1/online"
	echo "CPUs $(cat /sys/devices/system/cpu/online)"
}
(while [ ! -e /tmp/switched ]; do "$@"; done) &
switch 3 1
switch 1 0
switch 2 1
switch 1 1
switch 3 0
touch /tmp/switched
wait
