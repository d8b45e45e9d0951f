"""The stage that counts, by another name."""

from components.shared.stage.cli import main
from toy.count import count

if __name__ == "__main__":
    main(count)
