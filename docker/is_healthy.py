"""
A container's health check: `python is_healthy.py URL`, 0 where it answers 200.

Beside the images' own Python nothing is needed, and no proxy of the environment is asked.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def main() -> int:
    """Ask once; say on one line what came, for `docker inspect`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(sys.argv[1], timeout=TIMEOUT_S) as reply:
            print(reply.read(300).decode(errors="replace"))
            return 0
    except urllib.error.HTTPError as error:
        print(f"{error.code} {error.read(300).decode(errors='replace')}")
    except OSError as error:
        print(error)
    return 1


if __name__ == "__main__":
    sys.exit(main())
