"""json-schema-diff of crates.io: its program is run once a pair. Its path is the first argument."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    old, new = Path(folder, "old.json"), Path(folder, "new.json")
    for line in sys.stdin:
        pair = json.loads(line)
        old.write_text(json.dumps(pair["writer"]))
        new.write_text(json.dumps(pair["reader"]))
        done = subprocess.run([sys.argv[1], old, new], capture_output=True, text=True, timeout=10)
        changes = [json.loads(change) for change in done.stdout.splitlines()]
        broken = any(change["is_breaking"] for change in changes)
        print("null exit" if done.returncode else json.dumps(not broken), flush=True)
