#!/usr/bin/python3
"""Follows a session of claude-in-box over raw TCP, without TLS, and speaks in it.

Shows "Links without TLS: CIB1" of docs/PROTOCOL.md from one end to the other; comments name its sections.
Needs Debian's python3-cryptography and python3-cbor2.

    export CIB_DEVICE_KEY="<key.id>:<key.secret>"              # "A device's key"; one for each program
    cib_tcp.py 192.168.1.5:8081 <session>                      # from now on, until ctrl-C
    cib_tcp.py 192.168.1.5:8081 <session> --say "Run date" --allow

A frame is one line of JSON on standard output, as in the box's own log. A seq that comes again (verdict `ahead`)
replaces what was printed from it on. Exit codes: 0 done, 1 it did not work, 2 the command line was wrong.
"""
import argparse
import hmac
import io
import json
import os
import random
import select
import socket
import struct
import sys
import time
import uuid
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCEPT = 16384  # largest plaintext that I take
LAST_COUNTER = 2**24 - 2
KEEP_ALIVE_S, DEAD_S, FIRST_WAIT_S, LONGEST_WAIT_S = 25, 90, 0.25, 15
COME_BACK = {"rekey", "stopping", "too_far_behind"}

# docs/frames.cddl: each type's name, then the names of its fields 0, 1, 2 ... (15, pty.raw, comes only when asked for)
FRAMES = {
    1: "text.delta text message agent",
    2: "thinking text message agent",
    3: "tool.use.start id tool input agent",
    4: "tool.use.result id tool output error duration_ms agent",
    5: "todo.update items",
    6: "ask.question id of kind prompt options multiSelect tool input summary expires_at",
    7: "ask.answer id answer by",
    8: "usage input output cache_read cache_write model cost_usd",
    9: "status state elapsed_ms limit_resets_at",
    10: "stop reason",
    11: "meta model workdir title engine auth version permission_mode effort claude_session note",
    12: "hook name event payload result",
    13: "input id by text state input reason",
    14: "error code message",
}
INNER = {"items": "id subject status activeForm", "options": "label description"}


class Cut(ConnectionError):
    """This link is over; another one follows."""


def note(text):
    print(f"cib_tcp: {text}", file=sys.stderr, flush=True)


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


def raise_boot_counter(path):
    """"Keys": it is on the disk before the first connection of this start."""
    boot = int(path.read_text()) + 1 if path.exists() else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with open(fresh, "w") as file:
        file.write(f"{boot}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    return boot


class Link:
    """One connection. An OSError (Cut is one) means that it is over."""

    def __init__(self, address, key_id, secret, boot, connection):
        self.buffer, self.sent, self.received = b"", 0, 0
        self.socket = socket.create_connection(address, timeout=10)
        self.sent_at = self.heard_at = time.monotonic()
        # "Keys"
        prk0 = mac(b"claude-in-box link v1".ljust(32, b"\0"), secret)
        rc = mac(prk0, b"\x00", struct.pack(">II", boot, connection), os.urandom(16))[:16]
        # "The handshake over TCP", without X25519
        hello = b"CIB1" + struct.pack(">BBH", 0, 1, ACCEPT) + key_id + rc
        hello += mac(prk0, b"\x01", hello)[:16]
        self.socket.sendall(hello)
        while len(self.buffer) < 40:
            self.receive()
        reply, self.buffer = self.buffer[:40], self.buffer[40:]
        magic, flags, suite, self.box_accepts = struct.unpack_from(">4sBBH", reply)
        proof = mac(prk0, b"\x02", hello, reply[:24])[:16]
        if not hmac.compare_digest(proof, reply[24:]) or (magic, flags, suite) != (b"CIB1", 0, 1) or self.box_accepts < 128:
            raise Cut("the reply is not one of a box that has this key")
        prk1 = mac(prk0, b"\x03", hello, reply)
        self.to_box, self.from_box = AESGCM(mac(prk1, b"\x10")), AESGCM(mac(prk1, b"\x11"))

    def receive(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise Cut("the connection was closed without a bye")
        self.buffer += piece

    def send(self, *items):
        """"Records": seals the items, or nothing, as one record."""
        plain = b"".join(cbor2.dumps(item) for item in items)
        if len(plain) > self.box_accepts:
            raise SystemExit(f"cib_tcp: more than {self.box_accepts} bytes: say it over HTTP")
        if self.sent > LAST_COUNTER:
            raise Cut("the keys are used up")
        length, nonce = struct.pack(">H", len(plain)), struct.pack(">QI", 0, self.sent)
        self.socket.sendall(length + self.to_box.encrypt(nonce, plain, length))
        self.sent, self.sent_at = self.sent + 1, time.monotonic()

    def read(self):
        """Waits for bytes, keeping the link alive meanwhile, and returns the items of the whole records among them."""
        due = self.sent_at + KEEP_ALIVE_S - time.monotonic()
        if due > 0 and select.select([self.socket], [], [], due)[0]:
            self.receive()
        else:  # "Keeping alive, ending, coming back"
            self.send()
        items = []
        while len(self.buffer) >= 2 and len(self.buffer) >= (size := struct.unpack_from(">H", self.buffer)[0] + 18):
            record, self.buffer = self.buffer[:size], self.buffer[size:]
            items += self.open(record)
        if time.monotonic() > self.heard_at + DEAD_S:
            raise Cut("nothing has come for too long")
        return items

    def open(self, record):
        """"Records": what is in one, a sequence of CBOR items."""
        if len(record) - 18 > ACCEPT or self.received > LAST_COUNTER:
            raise Cut("a record that must not be")
        try:
            plain = self.from_box.decrypt(struct.pack(">QI", 0, self.received), record[2:], record[:2])
        except InvalidTag:
            raise Cut("a record that is not the box's") from None
        self.received, self.heard_at = self.received + 1, time.monotonic()
        stream = io.BytesIO(plain)
        while stream.tell() < len(plain):
            yield cbor2.load(stream)


class Follower:
    """One session, across any number of links."""

    def __init__(self, options):
        self.session, self.say, self.decision = options.session.bytes, options.say, options.decision
        self.position = {} if options.start is None else {"from": options.start}
        self.waiting = {}  # commands without a reply, by id: "Nothing twice"
        self.parts = []
        self.live = self.asked = self.delivered = self.done = False
        if self.say is not None:
            self.said = self.keep("input", text=self.say)

