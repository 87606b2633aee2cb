"""The process's entry point, for `soma` and `python -m soma_cli`."""

import sys


def main() -> None:
    try:
        from soma_cli.main import main as run

        run()
    except KeyboardInterrupt:  # also while modules are still being loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
