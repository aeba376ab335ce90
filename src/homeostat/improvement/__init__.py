"""What to make of what was seen: error groups become findings. Pure."""
