"""names.py ADDRESS FILE: a name server for containers. FILE has lines `ADDRESS NAME…` and is read for every question.

Knows names and addresses of version 4 and nothing else, as an engine's own does for the names of its containers.
"""
import socket
import struct
import sys


def known(path):
    with open(path) as lines:
        return {name: address for address, *names in map(str.split, lines) for name in names}


def answer(question, path):
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    end = at + 5
    kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
    address = known(path).get(".".join(labels).lower())
    found = address is not None and kind == 1
    flags = 0x8580 | (0 if address is not None else 3)
    head = question[:2] + struct.pack("!HHHHH", flags, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(address) if found else b""
    return head + question[12:end] + record


def main(address, path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            question, asker = server.recvfrom(4096)
            server.sendto(answer(question, path), asker)


if __name__ == "__main__":
    main(*sys.argv[1:])
