"""What a process on trial said last, as people get to see it."""

import os

from homeostat.adapters.supervising.process import LastWords


def test_files_of_the_repository_are_named_and_the_last_lines_alone_are_kept(tmp_path):
    repository = tmp_path / "srv" / "shop"
    words = LastWords(tmp_path / "stderr", repository=repository)
    lines = [f"line {number}" for number in range(40)]
    lines.append(f'  File "{repository}/shop/app.py", line 13, in <module>')
    lines.append('  File "/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module')
    lines.append("RuntimeError: no configuration, token=ghp_abcdefghijklmnopqrstuvwxyz0123456789")
    os.write(words.descriptor, "\n".join(lines).encode())
    told = words.read()
    words.close()
    assert '  File "shop/app.py", line 13, in <module>' in told.splitlines()
    assert str(tmp_path) not in told and "ghp_" not in told and "RuntimeError: no configuration" in told
    assert "line 5\n" not in told and "line 39" in told
    assert not (tmp_path / "stderr").exists()
