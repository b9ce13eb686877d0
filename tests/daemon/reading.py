# SPDX-License-Identifier: MIT
"""What the tests of metrics share: scrapes that are checked, and readers over TCP."""
import http.client

from conftest import DEADLINE, Reply
from exposition import parse

OPEN = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"}


def scrape(daemon, parameters="", open=False):
    """What a daemon tells, in a format that was looked at."""
    reply = daemon.call("GET", "/metrics" + parameters, headers=OPEN if open else {})
    assert reply.status == 200, reply.body
    return parse(reply.body.decode(), open=open)


class Tcp:
    """Reads over TCP, with the headers that a test chooses."""

    def __init__(self, daemon):
        host, _, port = daemon.get("/v1/daemon").json["listen"].rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)

    def call(self, method, target, host=None, headers=None):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for value in [f"localhost:{self.port}"] if host is None else host:
            connection.putheader("Host", value)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        reply = Reply(response.status, response.read())
        reply.headers = response.headers
        connection.close()
        return reply

    def get(self, target, **more):
        return self.call("GET", target, **more)
