"""Where resources are kept: ``store``."""

from __future__ import annotations

from datetime import timedelta

from kuma.cp.config.fields import Count, Percent, Port, Section, section, setting

_NO_REPLICA = "reads and writes go to the same database"
_NO_COUNTERPART = "the connection pool has no such setting"


class KubernetesStore(Section):
    """``store.kubernetes``."""

    system_namespace: str = setting("kuma-system")


class PostgresTls(Section):
    """``store.postgres.tls``; ``mode`` is disable, verifyNone, verifyCa or verifyFull."""

    mode: str = setting("disable")
    cert_path: str = setting("")
    key_path: str = setting("")
    ca_path: str = setting("")
    disable_ssl_sni: bool = setting(False, wire="disableSSLSNI", env="DISABLE_SSLSNI")


class ReadReplica(Section):
    """``store.postgres.readReplica``."""

    host: str = setting("")
    port: Port = setting(5432)
    ratio: Percent = setting(100)


class PostgresStore(Section):
    """``store.postgres``; ``connectionTimeout`` is in seconds."""

    host: str = setting("127.0.0.1")
    port: Port = setting(15432)
    user: str = setting("kuma")
    password: str = setting("kuma", secret=True)
    db_name: str = setting("kuma")
    driver_name: str = setting("pgx", inert="there is one driver")
    connection_timeout: Count = setting(5)
    min_open_connections: Count = setting(0)
    max_open_connections: Count = setting(50)
    max_idle_connections: int = setting(50, inert=_NO_COUNTERPART)
    max_connection_idle_time: timedelta = setting(timedelta(minutes=30))
    max_connection_lifetime: timedelta = setting(timedelta(hours=1), inert=_NO_COUNTERPART)
    max_connection_lifetime_jitter: timedelta = setting(timedelta(minutes=1), inert=_NO_COUNTERPART)
    health_check_interval: timedelta = setting(timedelta(seconds=30), inert=_NO_COUNTERPART)
    max_list_query_elements: Count = setting(0, inert="lists are read from the change log")
    tolerate_newer_db_versions: bool = setting(False, wire="tolerateNewerDBVersions")
    tls: PostgresTls = section(PostgresTls)
    read_replica: ReadReplica = section(ReadReplica, inert=_NO_REPLICA)


class SqliteStore(Section):
    """``store.sqlite``; an empty path becomes ``kuma.db`` in the work directory."""

    path: str = setting("")


class Encryption(Section):
    """``store.encryption``: the key for secrets at rest; an empty file becomes ``store.key`` in the work directory."""

    key: str = setting("", secret=True)
    key_file: str = setting("")


class ChangeLog(Section):
    """``store.changeLog``: how much history is kept; whichever limit is reached first trims."""

    max_age: timedelta = setting(timedelta(hours=720))
    max_entries: Count = setting(100_000)
    max_bytes: Count = setting(1_073_741_824)


class Cache(Section):
    """``store.cache``."""

    enabled: bool = setting(True)
    expiration_time: timedelta = setting(timedelta(seconds=1))


class Upsert(Section):
    """``store.upsert``: how a lost optimistic lock is tried again."""

    conflict_retry_base_backoff: timedelta = setting(timedelta(milliseconds=200))
    conflict_retry_max_times: Count = setting(10)
    conflict_retry_jitter_percent: Percent = setting(30)


class Store(Section):
    """``store``; on Kubernetes an unset type becomes ``kubernetes`` when the settings are loaded."""

    type: str = setting("sqlite")
    kubernetes: KubernetesStore = section(KubernetesStore)
    postgres: PostgresStore = section(PostgresStore)
    sqlite: SqliteStore = section(SqliteStore)
    encryption: Encryption = section(Encryption)
    change_log: ChangeLog = section(ChangeLog)
    cache: Cache = section(Cache, inert="nothing is cached that could be old")
    upsert: Upsert = section(Upsert, inert="a write that lost against another is tried again at once")
    unsafe_delete: bool = setting(False)
