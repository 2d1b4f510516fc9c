"""The verbs of Seismill, plain functions; `tasks.volume` holds the nouns they act on."""
