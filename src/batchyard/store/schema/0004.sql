-- Fair share: scheduling policies, and what each share of a queue (`<queue ARN>/<share>`) has used.
CREATE TABLE policies (arn TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shares (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
