"""A real hub whose proofs all pass at once, to measure what comes after: ``python -m bench.unproved_hub REPO``."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

from homeostat.adapters.settings import load_settings
from homeostat.hub.serving import HubServer
from homeostat.testing.fake_prover import FakeProver


def main() -> None:
    repository = Path(sys.argv[1])
    settings = load_settings(repository, {}).settings
    hub, host = replace(settings.hub, port=0), replace(settings.host, python=sys.executable)
    server = HubServer(
        settings=replace(settings, hub=hub, host=host),
        repository=repository,
        state_dir=repository / ".homeostat",
        wrap=lambda deps: replace(deps, prover=FakeProver()),
    )
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run(lambda: None)


if __name__ == "__main__":
    main()
