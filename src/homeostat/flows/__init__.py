"""What Homeostat does: short flows that perform what the subsystems decided.

Each flow reads the row, does what is still to be done, and may be called again at any time: a
crash between two of its lines is mended by the next call. No flow waits for a person.
"""
