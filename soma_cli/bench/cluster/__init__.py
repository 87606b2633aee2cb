"""The cluster's rows: soma on real servers, each figure beside a bare client of the same server."""
