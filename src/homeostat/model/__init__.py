"""The shared vocabulary: frozen dataclasses, enums and closed unions, one module a noun."""
