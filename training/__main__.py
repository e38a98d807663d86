"""List the commands of this package."""

from __future__ import annotations

from console.listing import page

if __name__ == "__main__":
    print(page("training"))
