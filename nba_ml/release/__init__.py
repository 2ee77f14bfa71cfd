"""Which published model serves: the operations that move the channel of an artifact root.

Each reads the channel, decides, and moves it (`core.moves.move_channel`); the clock comes in as an argument.
What belongs here: reading models and months, and putting a decision into the pointer's next state. What does not:
the conditions themselves (`core.promotion`, `core.rollout`), words for a terminal (`commands.release`).

Import the modules, not this package: `rollback` must be there within the second, and the others load models and tables.
"""
