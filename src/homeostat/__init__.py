"""Homeostat: lets a running Python system improve itself under control."""

__version__ = "0.1.0"
