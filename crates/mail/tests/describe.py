"""Reads a message on standard input with Python's own parser and prints what it understood."""

import email
import email.policy
import sys


def describe(part, depth):
    indent = "  " * depth
    print(f"{indent}{part.get_content_type()} defects={[type(d).__name__ for d in part.defects]}")
    for name, value in part.items():
        shown = repr(str(value))
        print(f"{indent}  {name}: {shown}")
        if getattr(value, "defects", ()):
            print(f"{indent}  defects in {name}: {value.defects}")
    if part.is_multipart():
        for inner in part.get_payload():
            describe(inner, depth + 1)
    elif part.get_content_maintype() == "text":
        charset = part.get_content_charset("utf-8")
        charset = "latin-1" if charset == "unknown-8bit" else charset
        print(f"{indent}  text={part.get_payload(decode=True).decode(charset)!r}")
    else:
        print(f"{indent}  octets={part.get_payload(decode=True).hex()}")


describe(email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default), 0)
