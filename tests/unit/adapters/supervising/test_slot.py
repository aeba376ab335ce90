"""What a supervised program is called to people."""

import pytest

from homeostat.adapters.supervising.slot import shown_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/srv/.venv/bin/radicale", "--auth-type", "none"], "radicale"),
        (["/srv/.venv/bin/python", "-m", "aiosmtpd", "-n", "-l", "127.0.0.1:25"], "python -m aiosmtpd"),
        (["python3.12", "jobs/worker.py", "--token", "abc"], "python3.12 worker.py"),
        (["python", "-c", "secret = 1"], "python"),
        (["python", "-u", "worker.py"], "python"),
        (["python", "-m"], "python"),
        (["python"], "python"),
        (["sh", "start.sh"], "sh"),
    ],
)
def test_the_name_says_what_runs_and_no_argument_of_it(command, name):
    assert shown_name(command) == name
