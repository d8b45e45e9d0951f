"""`python -m components.trainjob components.finetune EXECUTOR_INPUT`."""

from components.trainjob.launcher import main

if __name__ == "__main__":
    main()
