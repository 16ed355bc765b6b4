"""`python -m quickstudy`, the command without its script."""

from quickstudy.cli import main

if __name__ == "__main__":
    main()
