"""Customers, in a process of their own: `python -m soak.load URL RATE FILE` writes one JSON line a second.

A line holds the wall time at the end of its second, the answers by kind and status (0: nothing was
answered), and for each answer that is not 200 when its request began and ended. Stops at SIGTERM.
"""

import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from e2e.support.load import get

KINDS = (
    "/price?item=tea",
    "/price?item=mug&quantity=2",
    "/price?item=tea&coupon=SPRING10",
    "/price?item=mug&quantity=9",
)
CUSTOMERS = 4


def kind_of(path: str) -> str:
    return "many" if "quantity=9" in path else "plain"


class Customers:
    def __init__(self, url: str, rate: float) -> None:
        self._url = url
        self._pause_s = CUSTOMERS / rate
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bad: list[dict[str, object]] = []
        self.stop = threading.Event()

    def shop(self, number: int) -> None:
        due_s = time.monotonic() + self._pause_s * number / CUSTOMERS
        turn = number
        while not self.stop.is_set():
            self.stop.wait(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + self._pause_s, time.monotonic())
            path = KINDS[turn % len(KINDS)]
            turn += 1
            began = time.time()
            status, _ = get(self._url, path, timeout_s=20)
            with self._lock:
                self._counts[f"{kind_of(path)} {status}"] += 1
                if status != 200:
                    self._bad.append({"kind": kind_of(path), "status": status, "began": began, "ended": time.time()})

    def take(self) -> dict[str, object]:
        with self._lock:
            counts, bad = dict(self._counts), self._bad
            self._counts, self._bad = Counter(), []
        return {"at": time.time(), "counts": counts, "bad": bad}


def main(url: str, rate: str, file: str) -> None:
    customers = Customers(url, float(rate))
    signal.signal(signal.SIGTERM, lambda *_: customers.stop.set())
    threads = [threading.Thread(target=customers.shop, args=(number,), daemon=True) for number in range(CUSTOMERS)]
    for thread in threads:
        thread.start()
    with Path(file).open("a") as lines:
        while not customers.stop.wait(1.0):
            print(json.dumps(customers.take()), file=lines, flush=True)
        for thread in threads:
            thread.join(25)
        print(json.dumps(customers.take()), file=lines, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
