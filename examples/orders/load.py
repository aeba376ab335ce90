"""Load on the orders service, from a process of its own, with nothing but the standard library.

Prints one JSON line a second: requests, answers by status class, and requests that got no answer at
all. Customers are made up from a fixed seed: one in twelve writes the coupon in small letters, one
in eight orders in bulk. Stops by itself after --seconds, or on SIGTERM.
"""

import argparse
import http.client
import json
import random
import signal
import threading
import time
from urllib.parse import urlsplit


def customer_order(dice: random.Random) -> dict:
    quantity = dice.choice([1, 1, 1, 2, 2, 3, 4]) if dice.random() > 1 / 8 else dice.randint(12, 40)
    roll = dice.random()
    coupon = "spring10" if roll < 1 / 12 else "SPRING10" if roll < 0.3 else ""
    customer = f"{dice.choice(['ann', 'bob', 'cem', 'dora'])}{dice.randint(1, 999)}@example.org"
    return {"customer": customer, "items": {dice.choice(["tea", "mug", "pot"]): quantity}, "coupon": coupon}


class Load:
    def __init__(self, url: str, rate: float, workers: int) -> None:
        self._place = urlsplit(url).netloc
        self._pause_s = workers / rate
        self._workers = workers
        self._lock = threading.Lock()
        self._counts = self._fresh()
        self.stop = threading.Event()

    @staticmethod
    def _fresh() -> dict:
        return {"requests": 0, "ok": 0, "refused": 0, "failed": 0, "unanswered": 0, "latency_ms_max": 0.0}

    def run(self, seconds: float) -> None:
        threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while not self.stop.wait(1.0) and time.monotonic() < end:
            self._report()
        self.stop.set()
        for thread in threads:
            thread.join(10)
        self._report()

    def _report(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, self._fresh()
        print(json.dumps({"at": round(time.time(), 3), **counts}), flush=True)

    def _work(self, number: int) -> None:
        dice = random.Random(number)
        connection = http.client.HTTPConnection(self._place, timeout=10)
        due = time.monotonic() + self._pause_s * dice.random()
        while not self.stop.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += self._pause_s
            began = time.monotonic()
            kind = self._one(connection, customer_order(dice))
            with self._lock:
                self._counts["requests"] += 1
                self._counts[kind] += 1
                self._counts["latency_ms_max"] = max(
                    self._counts["latency_ms_max"], round((time.monotonic() - began) * 1000, 1)
                )

    @staticmethod
    def _one(connection: http.client.HTTPConnection, order: dict) -> str:
        try:
            body = json.dumps(order)
            connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 500:
                connection.close()  # the server closes it after an exception, without saying so
        except (OSError, http.client.HTTPException):
            connection.close()
            return "unanswered"
        return "ok" if answer.status < 400 else "refused" if answer.status < 500 else "failed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    load = Load(options.url, options.rate, options.workers)
    signal.signal(signal.SIGTERM, lambda *_: load.stop.set())
    load.run(options.seconds)


if __name__ == "__main__":
    main()
