BEGIN TRANSACTION;
CREATE TABLE changes (
        revision INTEGER PRIMARY KEY,
        time INTEGER NOT NULL, author TEXT NOT NULL, operation TEXT NOT NULL,
        kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,
        before_meta TEXT, before_spec BLOB, before_status BLOB,
        after_meta TEXT, after_spec BLOB, after_status BLOB
    ) STRICT
    ;
INSERT INTO "changes" VALUES(1,1795435200123456,'{"name": "mesh-system:control-plane", "groups": [], "address": ""}','create','Mesh','','default',NULL,NULL,NULL,'{"labels": {}, "owner": null, "created": 1795435200123456, "modified": 1795435200123456, "version": 1, "revision": 1}',X'7B7D',NULL);
INSERT INTO "changes" VALUES(2,1795435201123456,'{"name": "alice", "groups": ["admins", "mesh-system:authenticated"], "address": "10.0.0.7"}','create','Secret','default','s',NULL,NULL,NULL,'{"labels": {}, "owner": ["Mesh", "", "default"], "created": 1795435201123456, "modified": 1795435201123456, "version": 1, "revision": 2}',X'0122E93255C44419C8EFD8D94D1D8A0C9D23F4FB6B84A5E68CCB64B90A9059C98713E3FE5FCCEFAEEF5387C1674AB6FC5AB0C23D',NULL);
INSERT INTO "changes" VALUES(3,1795435202123456,'{"name": "alice", "groups": ["admins", "mesh-system:authenticated"], "address": "10.0.0.7"}','create','MeshTimeout','default','t',NULL,NULL,NULL,'{"labels": {"a": "b"}, "owner": ["Mesh", "", "default"], "created": 1795435202123456, "modified": 1795435202123456, "version": 1, "revision": 3}',X'7B22746F223A5B5D7D',NULL);
INSERT INTO "changes" VALUES(4,1795435203123456,'{"name": "alice", "groups": ["admins", "mesh-system:authenticated"], "address": "10.0.0.7"}','update','Secret','default','s','{"labels": {}, "owner": ["Mesh", "", "default"], "created": 1795435201123456, "modified": 1795435201123456, "version": 1, "revision": 2}',X'0122E93255C44419C8DCC5944B566544015A05229AE1AC0217BB12DBEEAC29F9F3854F28D34C86B59307CB2E18DB08FF7EEC8DE2',NULL,'{"labels": {}, "owner": ["Mesh", "", "default"], "created": 1795435201123456, "modified": 1795435203123456, "version": 2, "revision": 4}',X'0122E93255C44419C88735A9AB89F88E164BAB4728CDA46472CEDDD32ADB79A13BA770FA9D197CFE26284E20C3ECFE727ABB8873',NULL);
INSERT INTO "changes" VALUES(5,1795435204123456,'{"name": "alice", "groups": ["admins", "mesh-system:authenticated"], "address": "10.0.0.7"}','update','MeshTimeout','default','t','{"labels": {"a": "b"}, "owner": ["Mesh", "", "default"], "created": 1795435202123456, "modified": 1795435202123456, "version": 1, "revision": 3}',X'7B22746F223A5B5D7D',NULL,'{"labels": {}, "owner": ["Mesh", "", "default"], "created": 1795435202123456, "modified": 1795435204123456, "version": 2, "revision": 5}',X'7B7D',NULL);
CREATE TABLE resources (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,
        spec BLOB NOT NULL, status BLOB, labels TEXT NOT NULL,
        owner_kind TEXT, owner_mesh TEXT, owner_name TEXT,
        created INTEGER NOT NULL, modified INTEGER NOT NULL,
        version INTEGER NOT NULL, revision INTEGER NOT NULL,
        unlogged INTEGER NOT NULL,
        UNIQUE (kind, mesh, name)
    ) STRICT
    ;
INSERT INTO "resources" VALUES(1,'Mesh','','default',X'7B7D',NULL,'{}',NULL,NULL,NULL,1795435200123456,1795435200123456,1,1,0);
INSERT INTO "resources" VALUES(2,'Secret','default','s',X'0122E93255C44419C8B6987C79206BD58E8EB3995C2131D021763EFC324DAF40DC32141A20F18F2FDEBF9EBD1F85C60A83D749C0',NULL,'{}','Mesh','','default',1795435201123456,1795435203123456,2,4,0);
INSERT INTO "resources" VALUES(3,'MeshTimeout','default','t',X'7B7D',NULL,'{}','Mesh','','default',1795435202123456,1795435204123456,2,5,0);
CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT;
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, key_check BLOB) STRICT;
INSERT INTO "state" VALUES(1,5,X'0122E93255C44419C87B3EBD8F715CD61036F4F97F464F95853FAF173CEA3C7D4E4D9961898AAD98F1');
CREATE INDEX resources_by_owner ON resources (owner_kind, owner_mesh, owner_name) WHERE owner_kind IS NOT NULL;
CREATE INDEX changes_by_key ON changes (kind, mesh, name, revision);
CREATE INDEX changes_by_time ON changes (time);
COMMIT;
