"""`python -m regap`: the command line."""

from regap.commands.command_line import main

if __name__ == "__main__":
    main()
