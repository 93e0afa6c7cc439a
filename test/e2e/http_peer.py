"""An HTTP server with habits: what a path does is in its name. Python's own HTTP, so that the proxy meets another's idea of it."""
import hashlib
import http.server
import os
import socket
import socketserver
import struct
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        name, *rest = self.path[1:].split("/")
        if name == "bytes":
            self.stream(int(rest[0]))
        elif name == "empty":
            self.send_response(204)
            self.end_headers()
        elif name == "unmodified":
            self.send_response(304)
            self.send_header("Content-Length", "10")
            self.end_headers()
        elif name == "last":
            self.close_connection = True
            self.answer(b"bye", Connection="close")
        elif name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            os.close(self.connection.detach())
        elif name == "slow":
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            for letter in b"hello":
                time.sleep(0.1)
                self.wfile.write(bytes([letter]))
        elif name == "tunnel":
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "echo")
            self.end_headers()
            self.close_connection = True
            while data := self.rfile.read1(65536):
                self.wfile.write(data)
        else:
            self.answer(f"{self.client_address[0].removeprefix('::ffff:')} {self.path}\n".encode())

    do_HEAD = do_GET

    def stream(self, count):
        self.send_response(200)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        block = bytes(range(256)) * 4096
        while count > 0 and self.command != "HEAD":
            self.wfile.write(block[:count])
            count -= len(block)

    def do_POST(self):
        digest, count = hashlib.sha256(), 0
        for data in self.body():
            digest.update(data)
            count += len(data)
        self.answer(f"{digest.hexdigest()} {count}\n".encode())

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left > 0:
            data = self.rfile.read1(min(left, 1 << 20))
            if not data:
                return
            left -= len(data)
            yield data


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        pass


server = Server(("::", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
