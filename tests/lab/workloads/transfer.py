"""transfer.py MEBIBYTES [PAUSE_S=0]: send as much to the lab's echo and take it back, over the card that bounces.

Pauses are taken after each quarter of a MiB.

The card is down until then, so that no other workload's maps are counted with its own. Up, it holds a ring of buffers
mapped: some 210 slots for as long as it is.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

from tests.lab.harness.machine import ECHO_ADDRESS, ECHO_PORT

MEBIBYTE = 1 << 20
BLOCK_BYTES = 256 << 10
CARD = "eth0"
GUEST_ADDRESS = "10.0.2.15"
HANGS_S = 300.0


def bring_up() -> None:
    subprocess.run(["busybox", "ifconfig", CARD, GUEST_ADDRESS, "netmask", "255.255.255.0", "up"], check=True)


def send(connection: socket.socket, block: bytes, times: int, pause_s: float) -> None:
    for _ in range(times):
        connection.sendall(block)
        time.sleep(pause_s)
    connection.shutdown(socket.SHUT_WR)


def transfer(mebibytes: int, pause_s: float) -> int:
    """Bytes that came back as they were sent, up to the first that did not."""
    block = bytes(range(256)) * (BLOCK_BYTES // 256)
    came_bytes = 0
    with socket.create_connection((ECHO_ADDRESS, ECHO_PORT), HANGS_S) as connection:
        sender = threading.Thread(target=send, args=(connection, block, mebibytes * MEBIBYTE // BLOCK_BYTES, pause_s))
        sender.start()
        while piece := connection.recv(BLOCK_BYTES // 2):
            begins = came_bytes % 256
            if piece != block[begins : begins + len(piece)]:
                break
            came_bytes += len(piece)
        sender.join(HANGS_S)
    return came_bytes


def main() -> int:
    mebibytes = int(sys.argv[1])
    bring_up()
    came_bytes = transfer(mebibytes, float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    print(f"echoed {came_bytes} of {mebibytes * MEBIBYTE} bytes")
    return 0 if came_bytes == mebibytes * MEBIBYTE else 1


if __name__ == "__main__":
    sys.exit(main())
