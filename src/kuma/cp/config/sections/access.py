"""Who may do what: ``access``."""

from __future__ import annotations

from functools import partial

from kuma.cp.config.fields import Section, section, setting


class Allowed(Section):
    """A user is allowed if its name is listed or one of its groups is."""

    users: tuple[str, ...] = setting(())
    groups: tuple[str, ...] = setting(())


_admins = partial(Allowed, users=("mesh-system:admin",), groups=("mesh-system:admin",))
_everyone = partial(Allowed, groups=("mesh-system:unauthenticated", "mesh-system:authenticated"))


class StaticAccess(Section):
    """``access.static``."""

    admin_resources: Allowed = section(_admins)
    generate_dp_token: Allowed = section(_admins)
    generate_user_token: Allowed = section(_admins)
    generate_zone_token: Allowed = section(_admins)
    view_config_dump: Allowed = section(_everyone, env="GET_CONFIG_DUMP_")
    view_stats: Allowed = section(_everyone)
    view_clusters: Allowed = section(_everyone)
    control_plane_metadata: Allowed = section(_everyone)
    write_resources: Allowed = section(_everyone)


class Access(Section):
    """``access``; the only type is ``static``."""

    type: str = setting("static")
    static: StaticAccess = section(StaticAccess)
