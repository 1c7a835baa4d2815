"""The state diagram, from the table of transitions.

python -m tunstack.tcp.connection.diagram
"""

from __future__ import annotations

from tunstack.tcp.connection.state import TRANSITIONS, State


def mermaid() -> str:
    """The table of transitions as a Mermaid state diagram, causes and sections on the arrows."""
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state}" as {state.name}' for state in State if "-" in state.value]
    lines += [
        f"    {row.before.name} --> {row.after.name}: {row.cause} (§{row.section})"
        for row in TRANSITIONS
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(mermaid(), end="")
