"""Peers of the socket redirect test: blocking sockets, one mode each. Servers print a line when they listen, clients their figures as JSON."""
import hashlib
import json
import random
import socket
import sys
import threading
import time

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
argument = float(sys.argv[4]) if len(sys.argv) > 4 else 0


def listen(handle):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(128)
    print("listening", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


def connect(timeout=10):
    return socket.create_connection((address, port), timeout=timeout)


def read_exactly(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            return data
        data += part
    return data


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()


def sink(connection):
    digest, received = hashlib.sha256(), 0
    while data := connection.recv(262144):
        digest.update(data)
        received += len(data)
    connection.sendall(json.dumps({"received": received, "digest": digest.hexdigest()}).encode())
    connection.close()


def stuck(connection):
    time.sleep(60)


def exchange(connection, length):
    """One message and its echo; 1 if it comes back as another."""
    message = random.randbytes(length)
    connection.sendall(message)
    return int(read_exactly(connection, length) != message)


def echo_client():
    connection, wrong, total = connect(), 0, 0
    for _ in range(int(argument)):
        length = random.randint(1, 4000)
        wrong += exchange(connection, length)
        total += length
    return {"exchanges": int(argument), "wrong": wrong, "bytes": total}


def echo_for():
    connection, wrong, exchanges, end = connect(), 0, 0, time.monotonic() + argument
    while time.monotonic() < end:
        wrong += exchange(connection, 100)
        exchanges += 1
    return {"exchanges": exchanges, "wrong": wrong}


def until_cut():
    connection, exchanges, end = connect(timeout=2), 0, time.monotonic() + argument
    try:
        while time.monotonic() < end:
            exchange(connection, 100)
            exchanges += 1
    except OSError:
        return {"exchanges": exchanges, "cut": 1}
    return {"exchanges": exchanges, "cut": 0}


def upload():
    connection, digest, sent = connect(timeout=120), hashlib.sha256(), 0
    block = random.randbytes(1 << 20)
    while sent < argument:
        start = random.randint(0, len(block) - 1)
        part = block[start : start + random.choice([1, 100, 4096, 65536, 1 << 20])]
        connection.sendall(part)
        digest.update(part)
        sent += len(part)
    connection.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    return {"sent": sent, "expected": digest.hexdigest(), **answer}


def flood():
    connection, accepted = connect(), 0
    connection.settimeout(2)
    block = bytes(1 << 16)
    try:
        while accepted < argument:
            accepted += connection.send(block)
    except TimeoutError:
        pass
    return {"accepted": accepted}


def short():
    wrong = 0
    for _ in range(int(argument)):
        connection = connect()
        message = random.randbytes(200)
        connection.sendall(message)
        connection.settimeout(5)
        wrong += int(read_exactly(connection, len(message)) != message)
        connection.close()
    return {"wrong": wrong}


servers = {"echo": echo, "sink": sink, "stuck": stuck}
clients = {
    "echo-client": echo_client,
    "echo-for": echo_for,
    "until-cut": until_cut,
    "upload": upload,
    "flood": flood,
    "short": short,
}
if mode in servers:
    listen(servers[mode])
else:
    print(json.dumps(clients[mode]()))
