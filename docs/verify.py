#!/usr/bin/env python3
"""Checks an ostk log from its files alone: verify.py DIR [--deep] [--json] [--key ed25519:...]

DIR is an .ostk folder: segments journal/<first seq>.jsonl and journal.jsonl, log/checkpoint, packs/*.pack. Checked
always: each line's form, seq, ts, epoch and prev_hash, the Merkle root against the checkpoint, the checkpoint's
signature, every blob's hash; with --deep also every record's signature. Without --key the log vouches for itself:
compare the printed keys with keys that you know. Needs Python 3.11 alone and shares no code with ostk.
Exit status: 0 all holds, 1 problems were found, 2 wrong usage.
"""
import argparse, base64, datetime, functools, hashlib, json, pathlib, re, sys

MAX_LINE, MAX_PROBLEMS = 65535, 100   # bytes with the newline; problems printed, all are counted
MEMBERS = ["seq", "ts", "epoch", "actor", "event", "body", "prev_hash", "key", "sig"]
U64 = r"(?:0|[1-9][0-9]{0,19})"
LINE = re.compile(
    rf'\{{"seq":{U64},"ts":"(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{{6}}Z","epoch":{U64},'
    r'"actor":"[^"\\\x00-\x1f\x7f-\x9f]+","event":"[a-z0-9._-]{1,64}","body":\{.*\},'
    r'"prev_hash":"[0-9a-f]{64}","key":"ed25519:[A-Za-z0-9_-]{43}"(,"sig":"[0-9a-f]{128}")\}', re.ASCII)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

# Ed25519 (RFC 8032), points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ZERO = (0, 1, 1, 0)

def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % P, y * z % P, x * y % P, w * z % P
def decompress(data):
    y, sign = int.from_bytes(data, "little") & (1 << 255) - 1, data[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if (x * x - x2) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)
def compress(a):
    z = pow(a[2], -1, P)
    return (a[1] * z % P | (a[0] * z % P & 1) << 255).to_bytes(32, "little")
BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))

def signed_by(key, message, sig):
    point, s = decompress(key), int.from_bytes(sig[32:], "little")
    if point is None or s >= L or len(sig) != 64:
        return False
    h = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(), "little") % L
    minus = (P - point[0], point[1], 1, P - point[3])
    both, sum_ = add(BASE, minus), ZERO
    for bit in range(255, -1, -1):              # s * BASE - h * key
        sum_ = add(sum_, sum_)
        if take := (s >> bit & 1) + 2 * (h >> bit & 1):
            sum_ = add(sum_, (BASE, minus, both)[take - 1])
    return compress(sum_) == sig[:32]

def key_bytes(text):
    raw = base64.urlsafe_b64decode(text[8:] + "=")
    if len(raw) != 32 or "ed25519:" + base64.urlsafe_b64encode(raw).decode() != text + "=":
        raise ValueError("key is not in its one spelling")
    return raw
def sorted_object(pairs):
    names = [name for name, _ in pairs]
    if names != MEMBERS and names != sorted(set(names), key=lambda n: n.encode("utf-8", "surrogatepass")):
        raise ValueError("members are repeated or out of order")
    return dict(pairs)
def sha(data):
    return hashlib.sha256(data).digest()

class Log:
    def __init__(self, root, deep, key):
        self.root, self.deep, self.trusted = root, deep, key
        self.problems, self.count, self.records, self.blobs = [], 0, 0, 0
        self.seq, self.hash, self.ts, self.epoch = 0, "0" * 64, "", 0
        self.tree, self.keys, self.last_key = [], set(), None   # tree: (level, hash), larger subtrees first

    def wrong(self, file, offset, what, seq=None):
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"file": str(file), "offset": offset, "seq": seq, "what": what})
    def grow(self, line):
        level, node = 0, sha(b"\0" + line)
        while self.tree and self.tree[-1][0] == level:
            level, node = level + 1, sha(b"\1" + self.tree.pop()[1] + node)
        self.tree.append((level, node))
    def merkle_root(self):
        nodes = [node for _, node in reversed(self.tree)] or [sha(b"")]
        return functools.reduce(lambda right, left: sha(b"\1" + left + right), nodes)

    def parse(self, line):
        text = line.decode("utf-8")
        form = LINE.fullmatch(text)
        record = json.loads(text, object_pairs_hook=sorted_object) if form else {}
        if (list(record) != MEMBERS or re.search(r"\s", STRING.sub("", text))
                or max(record["seq"], record["epoch"]) >> 64 or len(record["actor"].encode()) > 256):
            raise ValueError("not a record: a member is missing, out of place or not in its one spelling")
        datetime.datetime.fromisoformat(form[1])
        return record, key_bytes(record["key"]), (text[:form.start(2)] + "}").encode()

    def record(self, file, offset, line):
        self.records += 1
        self.grow(line)
        before, self.hash = self.hash, sha(line).hex()
        try:
            record, key, signed = self.parse(line)
        except (ValueError, RecursionError) as error:
            self.seq += 1
            return self.wrong(file, offset, str(error))
        seq, ts, epoch = record["seq"], record["ts"], record["epoch"]
        checks = [
            (seq == self.seq, f"seq is {seq}, expected {self.seq}"),
            (record["prev_hash"] == before, "prev_hash is not the hash of the line before: one of the two was changed"),
            (ts >= self.ts, f"ts {ts} is earlier than {self.ts} before it"),
            (epoch >= self.epoch, f"epoch {epoch} is less than {self.epoch} before it"),
            (self.trusted in (None, record["key"]), f"signed by {record['key']}"),
            (not self.deep or signed_by(key, signed, bytes.fromhex(record["sig"])), "the signature does not hold"),
        ]
        for what in [what for holds, what in checks if not holds]:
            self.wrong(file, offset, what, seq)
        self.seq, self.ts, self.epoch, self.last_key = seq + 1, ts, epoch, record["key"]
        self.keys.add(record["key"])

    def segment(self, file, first=None):
        if first not in (None, self.seq):
            self.wrong(file, 0, f"the segment is not named for its first record, {self.seq}")
        offset = 0
        with file.open("rb") as lines:
            while line := lines.readline(MAX_LINE):
                if not line.endswith(b"\n"):
                    return self.wrong(file, offset, "a line that is torn or too long; what follows was not read")
                self.record(file, offset, line[:-1])
                offset += len(line)

    def journal(self):
        for file in sorted((self.root / "journal").glob("*.jsonl")):
            self.segment(file, int(file.stem) if re.fullmatch(r"[0-9]{20}", file.stem) else -1)
        if (live := self.root / "journal.jsonl").exists():
            self.segment(live)

    def checkpoint(self):
        file = self.root / "log" / "checkpoint"
        try:
            text, _, signatures = file.read_bytes().decode("utf-8").rpartition("\n\n")
            origin, size, root = (text.split("\n") + ["", "", ""])[:3]
            if str(self.records) != size:
                self.wrong(file, 0, f"the checkpoint is over {size} records, the log has {self.records}")
            elif base64.b64encode(self.merkle_root()).decode() != root:
                self.wrong(file, 0, "the checkpoint's root is not the root of the log")
            key = key_bytes(self.last_key or self.trusted or "")
            number = sha(origin.encode() + b"\n\x01" + key)[:4]
            named = [line[len(origin) + 3:] for line in signatures.split("\n") if line.startswith(f"\u2014 {origin} ")]
            ours = [sig[4:] for sig in (base64.b64decode(digits, validate=True) for digits in named) if sig[:4] == number]
            if not ours or not all(signed_by(key, (text + "\n").encode(), sig) for sig in ours):
                self.wrong(file, 0, "not signed by the key of the last record")
        except (OSError, ValueError) as error:
            self.wrong(file, 0, f"no readable checkpoint: {error}")

    def pack(self, file):
        with file.open("rb") as data:
            while head := data.readline(128):
                offset = data.tell() - len(head)
                form = re.fullmatch(rb"blob ([0-9a-f]{64}) (0|[1-9][0-9]{0,18})\n", head)
                if not form:
                    return self.wrong(file, offset, "not the head of a blob; what follows was not read")
                left, digest = int(form[2]), hashlib.sha256()
                while left and (part := data.read(min(left, 1 << 20))):
                    digest.update(part)
                    left -= len(part)
                if left or data.read(1) != b"\n":
                    return self.wrong(file, offset, "a torn blob; what follows was not read")
                self.blobs += 1
                if digest.hexdigest() != form[1].decode():
                    self.wrong(file, offset, "the blob's bytes have another hash")

def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dir", type=pathlib.Path)
    options.add_argument("--deep", action="store_true", help="check every record's signature")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    options.add_argument("--key", help="the one key that may have signed, ed25519:...")
    args = options.parse_args()
    log = Log(args.dir, args.deep, args.key)
    log.journal()
    log.checkpoint()
    for file in sorted((args.dir / "packs").glob("*.pack")):
        log.pack(file)
    result = {"ok": not log.count, "records": log.records, "blobs": log.blobs, "root": log.merkle_root().hex(),
              "keys": sorted(log.keys), "problem_count": log.count, "problems": log.problems}
    if args.json:
        print(json.dumps(result))
    else:
        for p in log.problems:
            print(f"{p['file']}:{p['offset']}:" + (f" record {p['seq']}:" if p["seq"] is not None else ""), p["what"])
        print("{records} records, {blobs} blobs, root {root}, keys {keys}: {problem_count} problems".format(**result))
    return 1 if log.count else 0

if __name__ == "__main__":
    sys.exit(main())
