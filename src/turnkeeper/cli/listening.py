"""Listening sockets, taken before anything heavy is imported: a port in use is said at once."""

import errno
import socket

from turnkeeper.errors import ConfigError

BACKLOG = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """One listening socket per address of `host`, all on the same port. Clients wait in them while a server restarts.

    Raises:
        ConfigError: if the port is taken or the host has no address here.
    """
    sockets: list[socket.socket] = []
    for family, address in _addresses(host, port):
        try:
            sockets.append(_listening(family, (address, sockets[0].getsockname()[1] if sockets else port)))
        except OSError as error:
            if sockets and error.errno == errno.EADDRNOTAVAIL:
                continue  # `localhost` names ::1 too, also where IPv6 is switched off
            for taken in sockets:
                taken.close()
            raise _refusal(error, host, port) from None
    return sockets


def is_free(host: str, port: int) -> bool:
    """Whether one could listen there now."""
    try:
        for taken in listen(host, port):
            taken.close()
    except ConfigError:
        return False
    return True


def free_port(host: str, *wanted: int) -> int:
    """The first of `wanted` that is free, else any free port."""
    for port in wanted:
        if is_free(host, port):
            return port
    (probe, *others) = listen(host, 0)
    port: int = probe.getsockname()[1]
    for taken in (probe, *others):
        taken.close()
    return port


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(
            f"no address is known for '{host}'",
            cause=str(error.strerror),
            fix="--host 127.0.0.1 for this machine only, --host 0.0.0.0 for the network",
        ) from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listening(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _refusal(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        other = free_port(host, *range(port + 1, min(port + 20, 65536)))
        return ConfigError(
            f"port {port} is in use", cause=f"another process listens on {host}:{port}", fix=f"--port {other} (free)"
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"port {port} may not be used",
            cause="ports below 1024 need privileges",
            fix="--port 2024, or any above 1023",
        )
    return ConfigError(f"cannot listen on {host}:{port}", cause=error.strerror, fix="choose another --host or --port")
