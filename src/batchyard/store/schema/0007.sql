-- Moves of jobs that somebody wants to be told of (webhooks, rules): written with the change itself, deleted once they were handed on.
CREATE TABLE moves (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, body TEXT NOT NULL);
