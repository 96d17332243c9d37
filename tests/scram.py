"""The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with or without a channel binding."""

import base64
import hashlib
import hmac
import os


def digest(key, text):
    return hmac.digest(key, text, "sha256")


class Client:
    """Called with what the server says, it returns what to answer. header: gs2-header."""

    def __init__(self, user, password, header=b"n,,", binding=b""):
        self.password = password.encode()
        self.header = header
        self.binding = binding
        self.nonce = base64.b64encode(os.urandom(18))
        self.bare = b"n=" + user.encode() + b",r=" + self.nonce
        self.signature = None
        self.is_verified = False

    def __call__(self, challenge):
        """As imaplib wants it: one server message in, the answer out."""
        if not challenge:
            return self.header + self.bare
        if challenge.startswith(b"v="):
            self.is_verified = base64.b64decode(challenge[2:]) == self.signature
            return b""
        return self.final(challenge)

    def final(self, challenge):
        nonce, salt, iterations = (part[2:] for part in challenge.split(b","))
        assert nonce.startswith(self.nonce) and len(nonce) > len(self.nonce)
        bound = base64.b64encode(self.header + self.binding)
        without_proof = b"c=" + bound + b",r=" + nonce
        signed = b",".join([self.bare, challenge, without_proof])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(salt),
                                     int(iterations))
        key = digest(salted, b"Client Key")
        stored = hashlib.sha256(key).digest()
        proof = bytes(a ^ b for a, b in zip(key, digest(stored, signed)))
        self.signature = digest(digest(salted, b"Server Key"), signed)
        return without_proof + b",p=" + base64.b64encode(proof)


def end_point(socket):
    """tls-server-end-point (RFC 5929 §4) of a certificate that is signed with SHA-256."""
    return hashlib.sha256(socket.getpeercert(binary_form=True)).digest()
