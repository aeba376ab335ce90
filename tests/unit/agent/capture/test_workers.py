"""Workers of multiprocessing and of pools: what ends one or comes back from it is recorded, with its place."""

import sys

import pytest
from agents_harness import Place, clean_environment, host, wait_for

PROGRAM = """
import concurrent.futures, logging, multiprocessing, sys

def fail(what):
    raise LookupError(what)

def leave():
    sys.exit(3)

class Own(multiprocessing.get_context(sys.argv[1]).Process):
    def run(self):
        fail("in a class of its own")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=fail, args=("in a worker",)), context.Process(target=leave), Own()]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print([worker.exitcode for worker in workers], flush=True)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            pool.submit(fail, "in a task").result()
        except LookupError:
            logging.exception("the executor said")
    with context.Pool(1) as pool:
        try:
            pool.apply(fail, ["in a job"])
        except LookupError:
            logging.exception("the pool said")
    sys.stdin.read()
"""
FAILS_AT = PROGRAM[: PROGRAM.index("raise")].count("\n") + 1


def occurrences(hub):
    found = []
    for kind, body, process in tuple(hub.heard):
        if kind == "logs":
            for scope in body["resourceLogs"][0]["scopeLogs"]:
                for record in scope["logRecords"]:
                    told = {item["key"]: next(iter(item["value"].values())) for item in record["attributes"]}
                    place = (told["code.file.path"], int(told["code.line.number"]), told["code.function.name"])
                    found.append((told["exception.message"], record["severityText"], place, process.pid))
    return found


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_worker_raises_is_recorded_where_it_was_raised(tmp_path, method):
    place = Place(tmp_path)
    program = place.write("app.py", PROGRAM)
    environment = place.launch().environment(clean_environment())
    with (
        place.hub() as hub,
        host(sys.executable, program, method, env=environment, cwd=place.repository) as running,
    ):
        assert running.stdout.readline() == "[1, 3, 1]\n", running.stderr.read()
        wait_for(lambda: len(occurrences(hub)) >= 4, what="four occurrences")
        seen = {message: (text, where) for message, text, where, _ in occurrences(hub)}
        here = ("app.py", FAILS_AT, "fail")
        assert seen == {
            "in a worker": ("CRITICAL", here),
            "in a class of its own": ("CRITICAL", here),
            "in a task": ("ERROR", here),
            "in a job": ("ERROR", here),
        }
        pids = {message: pid for message, _, _, pid in occurrences(hub)}
        assert pids["in a worker"] != running.pid and pids["in a task"] == running.pid
