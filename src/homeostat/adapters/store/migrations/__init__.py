"""The schema's history. Each file in `versions` is one step; a released one is never edited."""
