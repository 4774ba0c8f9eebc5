"""`python -m napari_medssl` is the command `medssl`."""

import sys

from napari_medssl.cli import main

if __name__ == "__main__":
    sys.exit(main())
