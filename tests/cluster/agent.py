"""`agent.py FOLDER HOST COMMAND...`: has the cluster in FOLDER start COMMAND on HOST, as ssh does.

The cluster outside gets this process's own input and output; the exit status comes back.
"""

import socket
import sys


def main() -> int:
    """Hand the command over and wait for its end."""
    folder, host, *command = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{folder}/agent.sock")
        message = f"{host}\0{' '.join(command)}".encode()
        socket.send_fds(connection, [message], [0, 1, 2])
        return int(connection.recv(16) or 255)


if __name__ == "__main__":
    sys.exit(main())
