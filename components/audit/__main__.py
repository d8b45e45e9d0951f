"""`python -m components.audit`."""

from components.audit.stage import audit
from components.trainjob.node import main

if __name__ == "__main__":
    main(audit)
