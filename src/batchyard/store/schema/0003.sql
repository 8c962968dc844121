-- Consumable resources, and which submissions want them (ListJobsByConsumableResource).
CREATE TABLE consumables (arn TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE consumers (resource TEXT NOT NULL, spec TEXT NOT NULL, PRIMARY KEY (resource, spec)) WITHOUT ROWID;
