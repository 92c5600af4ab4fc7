#!/usr/bin/python3
"""Follows a session of claude-in-box over raw TCP without TLS, and speaks in it.

Shows "Links without TLS: CIB1" of docs/PROTOCOL.md, whose sections are named in quotation marks; only X25519 is left
out. Needs Debian's python3-cryptography and python3-cbor2. CIB_DEVICE_KEY is "<key.id>:<key.secret>" of "A device's key".

    cib_tcp.py 192.168.1.5:8081 <session>                           # follows from now on, until ctrl-C
    cib_tcp.py 192.168.1.5:8081 <session> --say "Run date" --allow

A frame is one line of JSON, as in the box's own log. A seq that comes again (after the verdict `ahead`) replaces what
was printed from it on. Exit codes: 0 done, 1 it did not work, 2 the command line was wrong.
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

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCEPT = 16384  # the largest plaintext that I take
KEEP_ALIVE_S, DEAD_S, FIRST_WAIT_S, LONGEST_WAIT_S = 25, 90, 0.25, 15
# docs/frames.cddl: the names of types 0, 1, 2 ..., each with those of its fields 0, 1, 2 ... (pty.raw comes only when asked for)
FRAMES = ["", "text.delta text message agent", "thinking text message agent", "tool.use.start id tool input agent",
          "tool.use.result id tool output error duration_ms agent", "todo.update items",
          "ask.question id of kind prompt options multiSelect tool input summary expires_at", "ask.answer id answer by",
          "usage input output cache_read cache_write model cost_usd", "status state elapsed_ms limit_resets_at", "stop reason",
          "meta model workdir title engine auth version permission_mode effort claude_session note",
          "hook name event payload result", "input id by text state input reason", "error code message"]
INNER = {"items": "id subject status activeForm", "options": "label description"}


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


class Link:
    """One connection: the handshake, then records both ways. Any OSError ends it."""

    def __init__(self, address, key, counters):
        self.buffer, self.sent, self.received, self.heard_at = b"", 0, 0, time.monotonic()
        self.socket = socket.create_connection(address, timeout=10)
        # "Keys"
        prk0 = mac(b"claude-in-box link v1".ljust(32, b"\0"), key[8:])
        rc = mac(prk0, b"\x00", counters, os.urandom(16))[:16]
        # "The handshake over TCP"
        hello = struct.pack(">4sBBH", b"CIB1", 0, 1, ACCEPT) + key[:8] + rc
        hello += mac(prk0, b"\x01", hello)[:16]
        self.socket.sendall(hello)
        while len(self.buffer) < 40:
            self.receive()
        reply, self.buffer = self.buffer[:40], self.buffer[40:]
        magic, flags, suite, accepted = struct.unpack_from(">4sBBH", reply)
        proven = hmac.compare_digest(reply[24:], mac(prk0, b"\x02", hello, reply[:24])[:16])
        if not proven or (magic, flags, suite) != (b"CIB1", 0, 1) or accepted < 128:
            raise ConnectionError("the reply is not that of a box with this key")
        prk1 = mac(prk0, b"\x03", hello, reply)
        self.to_box, self.from_box = AESGCM(mac(prk1, b"\x10")), AESGCM(mac(prk1, b"\x11"))

    def receive(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("closed without a bye")
        self.buffer += piece

    def send(self, *items):
        """"Records": one with these items; without any it only keeps the link alive."""
        plain = b"".join(cbor2.dumps(item) for item in items)
        length, nonce = struct.pack(">H", len(plain)), struct.pack(">QI", 0, self.sent)
        self.socket.sendall(length + self.to_box.encrypt(nonce, plain, length))
        self.sent, self.sent_at = self.sent + 1, time.monotonic()

    def items(self):
        """"Records": every CBOR item as it comes, "Keeping alive" meanwhile."""
        while True:
            due = self.sent_at + KEEP_ALIVE_S - time.monotonic()
            if due <= 0:
                self.send()
            elif select.select([self.socket], [], [], due)[0]:
                self.receive()
            if time.monotonic() > self.heard_at + DEAD_S:
                raise ConnectionError("nothing came for too long")
            while len(self.buffer) >= 2 and len(self.buffer) >= (size := int.from_bytes(self.buffer[:2], "big") + 18):
                plain = self.open(self.buffer[:size])
                self.buffer = self.buffer[size:]
                while plain.tell() < len(plain.getbuffer()):
                    yield cbor2.load(plain)

    def open(self, record):
        try:
            plain = self.from_box.decrypt(struct.pack(">QI", 0, self.received), record[2:], record[:2])
        except InvalidTag:
            raise ConnectionError("a record is not from the box") from None
        self.received, self.heard_at = self.received + 1, time.monotonic()
        return io.BytesIO(plain)


class Follower:
    """One session, over as many links as it takes."""

    def __init__(self, session, start, text, decision):
        self.session, self.decision, self.parts, self.pending, self.turn = session.bytes, decision, [], {}, False
        self.position = {} if start is None else {"from": start}
        self.said = self.keep("input", text=text)["id"] if text else ""

    def keep(self, cmd, **fields):
        """"Nothing twice": a command has an id of its own, and is kept until its reply has come."""
        command = {"cmd": cmd, "id": str(uuid.uuid4()), "session": self.session, **fields}
        self.pending[command["id"]] = command
        return command

    def follow(self, link):
        self.link = link
        link.send({"cmd": "attach", "id": "attach", "session": self.session, **self.position})
        for item in link.items():
            if isinstance(item, list):
                self.frame(*item[:5])
            elif isinstance(item, dict):  # anything else is of a later version
                self.message(item)

    def message(self, item):
        """What is no frame: the tables of "Records" and of "Keeping alive, ending, coming back"."""
        if "gap" in item or item.get("verdict", "ok") != "ok":
            print("cib_tcp:", item, file=sys.stderr)
        if "error" in item:
            if item["error"]["code"] != "stopping":  # else it is sent again on the next link
                raise SystemExit(f"cib_tcp: {item['error']['code']}: {item['error']['message']}")
        elif item.get("re") == "attach":
            self.position = {"from": item["from"], "epoch": item["epoch"]}
            self.link.send(*self.pending.values())
        elif "re" in item:
            self.pending.pop(item["re"], None)
        elif "gap" in item:
            self.position["from"] = item["gap"][1]
        elif item.get("bye") in ("rekey", "stopping", "too_far_behind"):
            raise ConnectionError(item["bye"])
        elif "bye" in item or "detached" in item:
            raise SystemExit(f"cib_tcp: the box ended it: {item.get('bye') or item['detached']}")

    def frame(self, kind, seq, ts, session, data):
        """"Nothing lost": the position moves when a frame is whole and printed, or of a type that is not known."""
        part, parts = data.pop(30, (0, 1))
        self.parts = self.parts[:part] + [data]
        if part + 1 < parts:
            return
        if kind < len(FRAMES):
            name, fields = FRAMES[kind].split(" ", 1)
            print("RAW", parts, self.parts, file=sys.stderr) if parts > 1 or any(31 in p for p in self.parts) else None; pieces = [named(fields, piece) for piece in self.parts]
            if parts > 1:
                pieces[0]["text"] = "".join(piece["text"] for piece in pieces)
            frame = {"session": str(uuid.UUID(bytes=session)), "seq": seq, "ts": ts, "type": name, **pieces[0]}
            print(json.dumps(frame), flush=True)
            self.react(**frame)
        self.position["from"] = seq + 1

    def react(self, type, id=None, state=None, **others):
        """--allow and --deny answer one question; --say ends with the turn that it began."""
        if type == "ask.question" and self.decision:
            self.link.send(self.keep("answer", ask=id, decision=self.decision))
            self.decision = None
        elif type == "input" and id == self.said and state == "failed":
            raise SystemExit(f"cib_tcp: it was not said: {others.get('reason')}")
        elif type == "input" and id == self.said and state == "delivered":
            self.turn = True
        elif type == "stop" and self.turn:
            raise SystemExit(0)


def named(names, data):
    """Names in place of numbers, as in JSON; what has none is of a later version."""
    names = dict(enumerate(names.split())) | {31: "truncated"}
    fields = {names[number]: value for number, value in data.items() if number in names}
    return {name: [named(INNER[name], each) for each in value] if name in INNER else value for name, value in fields.items()}


def run(address, key, boot, follower):
    """"Coming back": one link after the other, with back-off."""
    wait, lived = FIRST_WAIT_S, False
    for connection in range(2**32):
        link = None
        try:
            link = Link(address, key, struct.pack(">II", boot, connection))
            follower.follow(link)
        except OSError as cut:
            lived, wait = (True, FIRST_WAIT_S) if link and link.received else (lived, wait)
            if not lived:
                raise SystemExit(f"cib_tcp: no link: {cut}. A box that closes in silence does not take CIB_DEVICE_KEY") from None
            print(f"cib_tcp: {cut}; coming back", file=sys.stderr)
            time.sleep(0 if str(cut) == "rekey" else random.uniform(wait / 2, wait))
            wait = min(2 * wait, LONGEST_WAIT_S)
        except (SystemExit, KeyboardInterrupt):
            if link:
                link.send({"bye": "done"})
            raise


def main():
    known = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known.add_argument("box", metavar="HOST:PORT")
    known.add_argument("session", type=uuid.UUID)
    known.add_argument("--from", metavar="SEQ", type=int, dest="start", help="also older frames, from this one on")
    known.add_argument("--say", metavar="TEXT", help="says it, and ends when its turn does")
    known.add_argument("--allow", action="store_const", const="allow", dest="decision", help="allows what the next question asks")
    known.add_argument("--deny", action="store_const", const="deny", dest="decision", help="declines the next question")
    known.add_argument("--state", metavar="FILE", help="the boot counter (~/.cib_tcp-<key id>)")
    known.add_argument("--accept", type=int, default=16384)
    options = known.parse_args()
    global ACCEPT
    ACCEPT = options.accept
    host, _, port = options.box.rpartition(":")
    key = bytes.fromhex(os.environ.get("CIB_DEVICE_KEY", "").replace(":", ""))
    if len(key) != 40 or not port.isdigit():
        known.error("CIB_DEVICE_KEY must be 16 hex digits, a colon and 64 hex digits, and the box HOST:PORT")
    state = options.state or os.path.expanduser(f"~/.cib_tcp-{key[:8].hex()}")
    with open(state, "ab") as file:  # "Keys": on the disk before the first connection; a byte for each start
        file.write(b".")
        file.flush()
        os.fsync(file.fileno())
        boot = file.tell()
    run((host.strip("[]"), int(port)), key, boot, Follower(options.session, options.start, options.say, options.decision))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
