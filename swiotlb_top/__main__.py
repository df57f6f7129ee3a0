"""``swiotlb-top``, and ``python -m swiotlb_top``: where a process begins and ends."""

import signal
import sys


def run() -> int:
    """Run the command line. An interrupt ends it without a traceback, also while modules are still being imported."""
    ignored = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if ignored:
        return _main()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _interruptible()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interruptible() -> int:
    from swiotlb_top.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return main()


def _main() -> int:
    from swiotlb_top.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
