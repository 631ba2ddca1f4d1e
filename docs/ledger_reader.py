#!/usr/bin/env python3
"""Recounts a Paredão ledger without any of the program's code; docs/ledger.md explains the format.

    python3 docs/ledger_reader.py paredao-data/store.sqlite

Prints JSON; exit status 0 if batches, marks, keys and kept totals agree to the vote, else 1.
"""

import json
import pathlib
import sqlite3
import struct
import sys
from collections import Counter, defaultdict

HEADER = struct.Struct("<BBBBIQQIIQQH")  # 50 bytes
VOTE = struct.Struct("<BBH12s")
MARK = struct.Struct("<HBQH")
KINDS = ["counted", "duplicate", "key_conflict", "after_close", "late"]


def crc_of_byte(n):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    return n


CRC = [crc_of_byte(n) for n in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Damage(Exception):
    """An entry that cannot be believed."""


def check(holds, what):
    if not holds:
        raise Damage(what)


def decode(lane, position, incarnation, number, poll, minute, count, checksum, seal, marks, body):
    """The votes of one ledger row and its marks by vote, all checks passed."""
    check(crc32c(struct.pack("<BQI", lane, position, checksum) + marks) == seal, "its seal does not match")
    check(len(body) >= HEADER.size + 4, "its batch is too short")
    found = int.from_bytes(body[-4:], "little")
    check(crc32c(body[:-4]) == found == checksum, "its batch is damaged")
    check(body[0] == 1, f"version {body[0]} is unknown")
    _, _, _, *columns, votes, _, _, voids = HEADER.unpack_from(body)
    start = HEADER.size + 8 * voids
    check(len(body) == start + VOTE.size * votes + 4, "its batch is of another length")
    kept = [lane, poll, incarnation % 2**64, number % 2**64, minute, count]
    check([*columns, votes] == kept, "its columns are not those of its batch")
    check(len(marks) % MARK.size == 0, "its marks are cut off")
    by_vote = {at: (kind, entry, vote) for at, kind, entry, vote in MARK.iter_unpack(marks)}
    check(all(at < votes and 1 <= kind <= 4 for at, (kind, _, _) in by_vote.items()), "its marks are wrong")
    return list(VOTE.iter_unpack(body[start:-4])), by_vote


class Poll:
    """The rules of one poll and what is counted of it."""

    def __init__(self, id, slug, opens_at, closes_at, key_life_s, last_positions):
        self.id, self.slug, self.life_ms = id, slug, key_life_s * 1000
        self.hours = range(opens_at or 0, closes_at or 2**63) if opens_at is not None else range(0)
        self.last_positions = last_positions  # of each lane when the result was declared final
        self.standing = defaultdict(list)  # key -> [(lane, entry, vote, accepted, candidate)]
        self.by_marks, self.by_keys, self.accounts = Counter(), Counter(), Counter()

    def book(self, lane, entry, at, accepted, vote, mark):
        """Counts a vote by its mark and by its key; returns what they disagree about."""
        candidate, flags, _, key = vote
        kind, *named = mark
        self.accounts[KINDS[kind]] += 1
        self.by_marks[candidate] += kind == 0
        late = entry > self.last_positions.get(lane, entry)
        outside = accepted not in self.hours
        repeats = flags & 3 != 0  # a key drawn by the server never comes again
        earlier = self.standing[key] if repeats else []
        copies = [c for c in earlier if abs(c[3] - accepted) <= self.life_ms]
        if not (late or outside or copies):
            self.by_keys[candidate] += 1
            if repeats:
                self.standing[key].append((lane, entry, at, accepted, candidate))
            return kind and "is marked, and nothing stands in its way"
        same = [c[4] == candidate for c in copies if c[:3] == (lane, *named)]
        right = [False, same == [True], same == [False], outside, late]
        return not right[kind] and f"is {KINDS[kind]}, and should not be"


def read_polls(db):
    last_positions = defaultdict(dict)
    for poll, lane, last in db.execute("SELECT poll, lane, last_position FROM finality"):
        last_positions[poll][lane] = last
    rows = db.execute("SELECT id, slug, opens_at, closes_at, key_life_s FROM poll")
    return {row[0]: Poll(*row, last_positions[row[0]]) for row in rows}


def read_ledger(db, polls, damage, findings):
    following = defaultdict(lambda: 1)
    for row in db.execute(
        "SELECT lane, position, incarnation, number, poll, minute, votes,"
        " checksum, seal, marks, body FROM ledger ORDER BY place"
    ):
        lane, position, _, _, poll, minute, *_ = row
        if position != following[lane]:
            damage.append(f"lane {lane}: there is nothing before position {position}")
        following[lane] = position + 1
        try:
            votes, marks = decode(*row)
            check(not votes or poll in polls, "its poll does not exist")
        except Damage as error:
            damage.append(f"lane {lane}, position {position}: {error}")
            continue
        for at, vote in enumerate(votes):
            accepted, mark = minute * 60_000 + vote[2], marks.get(at, (0, 0, 0))
            wrong = polls[poll].book(lane, position, at, accepted, vote, mark)
            if wrong:
                findings.append(f"{polls[poll].slug}: vote {lane}:{position}:{at} {wrong}")
    for lane, following_kept in db.execute("SELECT lane, next_position FROM lane"):
        if following[lane] != following_kept:
            damage.append(f"lane {lane}: there is nothing before position {following_kept}")


def main(path):
    db = sqlite3.connect(pathlib.Path(path).resolve().as_uri() + "?mode=ro", uri=True)
    db.execute("BEGIN")  # everything below is of one instant
    polls, damage, findings, kept = read_polls(db), [], [], defaultdict(Counter)
    read_ledger(db, polls, damage, findings)
    for poll, candidate, votes in db.execute("SELECT poll, candidate, votes FROM total"):
        kept[poll][candidate] += votes
    agrees = (
        not damage and not findings and all(+p.by_marks == +p.by_keys == +kept[p.id] for p in polls.values())
    )
    report = {
        p.slug: {"by_marks": +p.by_marks, "by_keys": p.by_keys, "kept": kept[p.id], "accounts": p.accounts}
        for p in polls.values()
    }
    print(json.dumps({"agrees": agrees, "polls": report, "damage": damage, "findings": findings}, indent=2))
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
