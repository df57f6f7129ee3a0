"""scrapes.py URL FILE METRIC...: ask for a page of metrics again and again, until FILE is there.

Prints a JSON object a scrape: the sums of the metrics' samples, or as "failed" why there is no page.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
from pathlib import Path

from tests.lab.workloads.scrape import asked, total

PAUSE_S = 0.5


def main() -> None:
    url, last, *metrics = sys.argv[1:]
    while not Path(last).exists():
        try:
            page = asked(url)
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            said: dict[str, object] = {"failed": str(error)}
        else:
            said = {metric: total(page, metric) for metric in metrics}
        print(json.dumps(said), flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
