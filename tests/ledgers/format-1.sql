PRAGMA application_id = 1128482097;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "fact" VALUES('born_ms',1790000000000);
INSERT INTO "fact" VALUES('floor_ms',1782223200000);
INSERT INTO "fact" VALUES('period_ms',604800000);
CREATE TABLE family (name TEXT PRIMARY KEY, buckets TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "family" VALUES('codecommit_event_delivery_seconds','[60, 120, 300, 600, 900, 1800, 3600, 86400]');
INSERT INTO "family" VALUES('codecommit_event_errors_total','[]');
INSERT INTO "family" VALUES('codecommit_events_total','[]');
INSERT INTO "family" VALUES('codecommit_last_event_timestamp_seconds','[]');
INSERT INTO "family" VALUES('codecommit_last_push_timestamp_seconds','[]');
INSERT INTO "family" VALUES('codecommit_push_references','[1, 2, 5, 10, 50, 100]');
INSERT INTO "family" VALUES('codecommit_pushes_total','[]');
INSERT INTO "family" VALUES('codecommit_reference_updates_total','[]');
CREATE TABLE learnt (
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    id TEXT NOT NULL,
    repository TEXT NOT NULL,
    event_ms INTEGER,
    created_ms INTEGER,
    PRIMARY KEY (kind, account_id, aws_region, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_file (
    day INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    PRIMARY KEY (day, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO "log_file" VALUES(20717,2494961546173138792);
INSERT INTO "log_file" VALUES(20717,8106490803799694185);
INSERT INTO "log_file" VALUES(20717,9124220799359070906);
CREATE TABLE repository (
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_ms INTEGER,
    PRIMARY KEY (account_id, aws_region, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "repository" VALUES('210987654321','eu-central-1','docs',NULL);
INSERT INTO "repository" VALUES('210987654321','eu-central-1','tools',NULL);
CREATE TABLE seen_kept (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO "seen_kept" VALUES(X'0CB1E29C658CDA1495E60AF593BD04CF');
INSERT INTO "seen_kept" VALUES(X'36F675CC81E74EF5E8E25D940ED90475');
INSERT INTO "seen_kept" VALUES(X'8D116ECE1738F7D93D9C172411E20B8F');
INSERT INTO "seen_kept" VALUES(X'A170B33839263059F28C105D1FB17C23');
INSERT INTO "seen_kept" VALUES(X'D23F0824128B2F330C5C7FD0A6A3A450');
CREATE TABLE series (
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    amount INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    born_ms INTEGER NOT NULL,
    released_ms INTEGER,
    PRIMARY KEY (family, labels)
) STRICT, WITHOUT ROWID;
INSERT INTO "series" VALUES('codecommit_event_delivery_seconds','["210987654321", "eu-central-1", "", "GetFile", "", ""]',300000,'[0, 0, 1, 0, 0, 0, 0, 0, 0]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_event_delivery_seconds','["210987654321", "eu-central-1", "docs", "PutFile", "", ""]',243691800000,'[0, 0, 1, 0, 0, 0, 0, 0, 1]',1790000000000,NULL);
INSERT INTO "series" VALUES('codecommit_event_delivery_seconds','["210987654321", "eu-central-1", "tools", "GitPull", "HTTP", "true"]',300000,'[0, 0, 1, 0, 0, 0, 0, 0, 0]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_event_delivery_seconds','["210987654321", "eu-central-1", "tools", "GitPush", "HTTP", "true"]',300000,'[0, 0, 1, 0, 0, 0, 0, 0, 0]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_event_errors_total','["210987654321", "eu-central-1", "", "GetFile", "AccessDenied"]',1,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_events_total','["210987654321", "eu-central-1", "", "GetFile", "", ""]',1,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_events_total','["210987654321", "eu-central-1", "docs", "PutFile", "", ""]',2,'[]',1790000000000,NULL);
INSERT INTO "series" VALUES('codecommit_events_total','["210987654321", "eu-central-1", "tools", "GitPull", "HTTP", "true"]',1,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_events_total','["210987654321", "eu-central-1", "tools", "GitPush", "HTTP", "true"]',1,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_last_event_timestamp_seconds','["210987654321", "eu-central-1", "", "GetFile"]',1789992000000,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_last_event_timestamp_seconds','["210987654321", "eu-central-1", "docs", "PutFile"]',1789992000000,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_last_event_timestamp_seconds','["210987654321", "eu-central-1", "tools", "GitPull"]',1789992000000,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_last_event_timestamp_seconds','["210987654321", "eu-central-1", "tools", "GitPush"]',1789992000000,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_last_push_timestamp_seconds','["210987654321", "eu-central-1", "tools"]',1789992000000,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_push_references','["210987654321", "eu-central-1", "tools", "HTTP"]',1000,'[1, 0, 0, 0, 0, 0, 0]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_pushes_total','["210987654321", "eu-central-1", "tools", "HTTP"]',1,'[]',1790000000000,1790000000000);
INSERT INTO "series" VALUES('codecommit_reference_updates_total','["210987654321", "eu-central-1", "tools", "branch", "update"]',1,'[]',1790000000000,1790000000000);
COMMIT;
