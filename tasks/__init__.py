"""The verbs of Seismill as plain functions; `tasks.volume` holds the code that they use."""
