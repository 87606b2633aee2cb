"""Other checkers, asked the same questions. Each lives in an environment of its own and is spoken to by lines.

A driver reads one JSON object a line, `{"writer": ..., "reader": ...}`, and answers each with a line: `true`, `false`,
or `null` and what stopped it. None of them is needed to run soma's tests.
"""
