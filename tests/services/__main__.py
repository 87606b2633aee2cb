"""python -m tests.services fetches the jars of the Java servers now, so that no test waits for a download."""

from tests.services.jars import GOALS, jars

for server in GOALS:
    print(jars(server))
