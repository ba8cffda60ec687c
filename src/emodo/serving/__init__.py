"""`emodo serve`: trained runs behind a web page and an HTTP interface, on this machine."""
