"""The parent process and its workers: listening sockets, signals, drain, reload, and the Unix control socket."""
