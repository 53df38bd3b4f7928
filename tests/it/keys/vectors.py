import hashlib, hmac, struct, sys
page = sys.stdin.read()
block = page.split("## Test vectors")[1].split("```text\n")[1].split("```")[0]
given = {line[:22].strip(): line[22:] for line in block.splitlines()}
H = lambda key, text: hmac.new(key, text, hashlib.sha256).digest()
code = lambda mac: mac[:16].hex()
secret = bytes.fromhex(given["secret of the group"])
opening = given["caller's opening"]
holder = opening[len("KEY 1 "):opening.index(" nonce=")]
answer = given["called one's answer"].split(" mac=")[0]
node = H(secret, b"berkeley-1 node " + holder.encode())
carried = "berkeley-key 1 " + holder + " " + node.hex()
digest = hashlib.sha256((opening + "\n" + answer + "\n").encode()).hexdigest()
proof = lambda end: code(H(node, ("berkeley-1 proof %s %s" % (end, digest)).encode()))
lines = {end: H(node, ("berkeley-1 lines %s %s" % (end, digest)).encode()) for end in ("called", "caller")}
def sealed(end, number, name):
    line = given[name].split(" mac=")[0]
    return line + " mac=" + code(H(lines[end], struct.pack(">Q", number) + line.encode()))
made = {
    "node key": node.hex(),
    "line of the key": carried + " " + hashlib.sha256(carried.encode()).hexdigest()[:8],
    "called one's answer": answer + " mac=" + proof("called"),
    "hash of both": digest,
    "caller's proof": "PROOF mac=" + proof("caller"),
    "key, called one's": lines["called"].hex(),
    "key, caller's": lines["caller"].hex(),
    "called one's line 0": sealed("called", 0, "called one's line 0"),
    "caller's line 0": sealed("caller", 0, "caller's line 0"),
    "called one's line 1": sealed("called", 1, "called one's line 1"),
    "certificate of term 7": code(H(H(secret, b"berkeley-1 terms"), b"term 7")),
}
for name, value in made.items():
    assert given[name] == value, name
assert len(given) == len(made) + 2, given.keys()
print(len(made), "vectors agree")
