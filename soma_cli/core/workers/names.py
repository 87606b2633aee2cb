"""The names of the workers, in the order in which each follows the others."""

KV = "kv"
LANDING = "landing"
VECTOR = "vector"
RESPONSES = "responses"
EMBED = "embed"
AUDIT = "audit"
LATEST = "latest"
