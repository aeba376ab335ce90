"""Lets a supervised program be restarted without a caller noticing: its listening sockets outlive the process.

Only a program whose launch names a supervisor has any of this. `member` is the process's side of the talk
with the supervisor (`homeostat.adapters.supervising`); `sockets` finds what the process listens on and who is
connected; `claims` puts a handed-over socket where the program binds; `retiring` keeps a process that is about
to go from taking new connections.
"""
