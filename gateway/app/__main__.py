"""`python -m gateway.app`: one of several workers, started by its supervisor with the number of its line."""

import sys

from gateway.app import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(int(sys.argv[1])))
