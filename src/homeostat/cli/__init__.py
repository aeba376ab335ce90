"""The command line. stdout is data, stderr is talk; `--json` everywhere; never a prompt without a terminal."""
