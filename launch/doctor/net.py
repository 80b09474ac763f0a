"""The ports at which the processes of a run meet, and the name by which they find this machine."""

import socket
import uuid
from collections.abc import Sequence

from dsva.processes.rendezvous import port_limit, ports
from launch.doctor.finding import Asked, Finding

SECONDS = 5.0


def open_ports(_: Asked, wanted: Sequence[int] | None = None) -> Finding:
    """Listen on ports such as runs choose, and connect to one of them by this machine's name.

    Raises:
        OSError: the name does not resolve, or leads elsewhere.
    """
    wanted = wanted or list(ports(uuid.uuid4().hex, port_limit()))
    host = socket.gethostname()
    free: list[int] = []
    for port in wanted:
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
            if not free:
                listener.listen()
                socket.create_connection((host, port), SECONDS).close()
            free.append(port)
    said, mend = f"{len(free)} of {len(wanted)} ports tried are free on {host}", "look at what listens there with `ss -ltn`"
    if not free:
        return Finding("ports", "FAIL", said, mend)
    return Finding("ports", "OK", said) if 2 * len(free) > len(wanted) else Finding("ports", "WARN", said, mend)
