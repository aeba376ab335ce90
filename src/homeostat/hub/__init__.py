"""The hub: HTTP interface, agents' gateway, flows and store in one process."""
