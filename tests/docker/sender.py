"""Clients of the front that do as they are told: run in a container, prints the answers as JSON."""

import json
import socket
import threading
import time
from pathlib import Path

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

CLIENTS = 4
SECONDS = 8.0
PICTURE = Path("/app/handler/golden/parrots.jpg").read_bytes()

# A container that stops loses its name; a client that has its address is refused there.
url = f"http://{socket.gethostbyname('front')}:8080/predictions/iqa"
answers = []
end_s = time.monotonic() + SECONDS


def send():
    """Send one after the other, and wait where Retry-After says so."""
    with requests.Session() as session:
        while time.monotonic() < end_s:
            try:
                reply = session.post(
                    url,
                    data=PICTURE,
                    headers={"Content-Type": "application/octet-stream"},
                    timeout=(5, 60),
                )
                answers.append(reply.status_code)
                time.sleep(float(reply.headers.get("Retry-After", 0)))
            except requests.ConnectionError as error:
                reason = getattr(error.args[0], "reason", None)
                # Nobody there, or nobody at the address any more: nothing was sent.
                refused = isinstance(reason, (NewConnectionError, ConnectTimeoutError))
                answers.append("refused" if refused else f"lost: {error}")
                time.sleep(0.2)


threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(answers))
