"""Puts the capture into a program before its first line, as the agent does, and tells what it sees while it runs."""

import atexit
import json
import os
import pathlib
import sys
import threading

EVERY_S = 0.05


class Teller:
    """Adds up what the capture reports, and keeps it in a file of this process."""

    def __init__(self, folder, repository):
        from homeostat_agent.capture import install
        from homeostat_agent.context import HostContext
        from homeostat_agent.ring import Ring

        self.folder = folder
        self.ring = Ring()
        self.capture = install(
            self.ring, HostContext(repository=repository, commit=None, service_name="host", process_id="p")
        )
        self.begin()

    def begin(self):
        self.lock = threading.Lock()
        self.requests, self.occurrences, self.errors, self.lag = {}, [], 0, None
        self.stopped = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while not self.stopped.wait(EVERY_S):
            self.tell()

    def tell(self):
        with self.lock:
            self.tell_locked()

    def tell_locked(self):
        vitals = self.capture.vitals()
        for key, series in vitals.pop("requests").items():
            count, sum_s = self.requests.get(key, (0, 0.0))
            self.requests[key] = (count + series.requests, sum_s + series.sum_s)
        self.errors += vitals["errors_logged"]
        if vitals["loop_lag_ms_max"] is not None:
            self.lag = max(self.lag or 0.0, vitals["loop_lag_ms_max"])
        self.occurrences += [
            {**item._asdict(), "location": list(item.location), "trace": [list(frame) for frame in item.trace]}
            for item in self.ring.drain(10000)
        ]
        report = {
            "pid": os.getpid(),
            "requests": [[*key, *value] for key, value in self.requests.items()],
            "occurrences": self.occurrences,
            "errors_logged": self.errors,
            "loop_lag_ms_max": self.lag,
            "dropped": vitals["dropped"],
            "serves": vitals["serves"],
            "failures": self.capture.failures.as_dict(),
        }
        path = pathlib.Path(self.folder, f"{os.getpid()}.json")
        path.with_suffix(".new").write_text(json.dumps(report))
        path.with_suffix(".new").replace(path)


def begin():
    sys.capture_teller = Teller(os.environ["CAPTURE_REPORTS"], os.environ["CAPTURE_REPOSITORY"])
    atexit.register(sys.capture_teller.tell)
    os.register_at_fork(after_in_child=sys.capture_teller.begin)


if os.environ.get("CAPTURE_FROM") != "inside":
    begin()
