"""What applies on Kubernetes only: ``runtime.kubernetes``. Read, checked and printed everywhere."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from kuma.cp.config.fields import Count, Port, Section, TextMap, section, setting

# Kuma names these after an injector that once was a program of its own, or left "injector" out of the name.
_CONTAINERS = "KUMA_INJECTOR_"
_RUNTIME = "KUMA_RUNTIME_KUBERNETES_"
_PROBE_PROXY = "set runtime.kubernetes.injector.applicationProbeProxyPort instead (0 switches proxying of probes off)"


class NodeTaintController(Section):
    """``nodeTaintController``."""

    enabled: bool = setting(False)
    cni_app: str = setting("")
    cni_namespace: str = setting("kube-system")


class AdmissionServer(Section):
    """``admissionServer``."""

    address: str = setting("")
    port: Port = setting(5443)
    cert_dir: str = setting("")


class Exceptions(Section):
    """``injector.exceptions``: pods with one of these labels are left alone, ``*`` is any value."""

    labels: TextMap = setting({"openshift.io/build.name": "*", "openshift.io/deployer-pod-for.name": "*"})


class Quantities(Section):
    """CPU and memory as Kubernetes writes them."""

    cpu: str = setting("")
    memory: str = setting("")


class Resources(Section):
    """Compute resources of a container."""

    requests: Quantities = section(partial(Quantities, cpu="20m", memory="20M"))
    limits: Quantities = section(partial(Quantities, cpu="0", memory="50M"))


class ReadinessProbe(Section):
    """``readinessProbe``."""

    initial_delay_seconds: Count = setting(1)
    timeout_seconds: Count = setting(3)
    period_seconds: Count = setting(5)
    success_threshold: Count = setting(1)
    failure_threshold: Count = setting(12)


class OtherProbe(Section):
    """``livenessProbe`` and ``startupProbe``."""

    initial_delay_seconds: Count = setting(1)
    timeout_seconds: Count = setting(3)
    period_seconds: Count = setting(5)
    failure_threshold: Count = setting(12)


class SidecarResources(Section):
    """Compute resources of the sidecar."""

    requests: Quantities = section(partial(Quantities, cpu="50m", memory="64Mi"))
    limits: Quantities = section(partial(Quantities, cpu="0", memory="512Mi"))


class SidecarContainer(Section):
    """``injector.sidecarContainer``."""

    image: str = setting("kuma/kuma-dp:latest")
    uid: Count = setting(5678)
    gid: Count = setting(5678, env="GUI")  # Kuma's name, with its slip
    drain_time: timedelta = setting(timedelta(seconds=30))
    readiness_probe: ReadinessProbe = section(ReadinessProbe)
    liveness_probe: OtherProbe = section(partial(OtherProbe, initial_delay_seconds=60))
    startup_probe: OtherProbe = section(OtherProbe)
    resources: SidecarResources = section(SidecarResources, env=_CONTAINERS + "SIDECAR_CONTAINER_RESOURCES_")
    env_vars: TextMap = setting({})
    redirect_port_inbound: Port = setting(15006)
    ip_family_mode: str = setting("dualstack")
    redirect_port_outbound: Port = setting(15001)
    wait_for_dataplane_ready: bool = setting(False)


class InitContainer(Section):
    """``injector.initContainer``."""

    image: str = setting("kuma/kuma-init:latest")
    resources: Resources = section(Resources)


class ValidationContainer(Section):
    """``injector.validationContainer``."""

    resources: Resources = section(Resources)


class SidecarTraffic(Section):
    """``injector.sidecarTraffic``: what transparent redirection leaves alone."""

    exclude_inbound_ports: tuple[int, ...] = setting(())
    exclude_outbound_ports: tuple[int, ...] = setting(())
    exclude_inbound_ips: tuple[str, ...] = setting((), wire="excludeInboundIPs")
    exclude_outbound_ips: tuple[str, ...] = setting((), wire="excludeOutboundIPs")


class BuiltinDns(Section):
    """``injector.builtinDNS``."""

    enabled: bool = setting(True)
    port: Port = setting(15053)
    logging: bool = setting(False)
    experimental_proxy: bool = setting(True)


class Ebpf(Section):
    """``injector.ebpf``."""

    enabled: bool = setting(False)
    instance_ip_env_var_name: str = setting("INSTANCE_IP", wire="instanceIPEnvVarName")
    bpffs_path: str = setting("/sys/fs/bpf")
    cgroup_path: str = setting("/sys/fs/cgroup")
    tc_attach_iface: str = setting("")
    programs_source_path: str = setting("/tmp/kuma-ebpf")  # noqa: S108 - Kuma's default


class InjectorSpire(Section):
    """``injector.spire``."""

    enabled: bool = setting(False)
    mount_path: str = setting("/run/spire/sockets")
    socket_file_name: str = setting("socket")


class Injector(Section):
    """``injector``."""

    sidecar_container: SidecarContainer = section(SidecarContainer)
    init_container: InitContainer = section(InitContainer, env=_CONTAINERS + "INIT_CONTAINER_")
    validation_container: ValidationContainer = section(ValidationContainer, env=_CONTAINERS + "VALIDATION_CONTAINER_")
    container_patches: tuple[str, ...] = setting(())
    cni_enabled: bool = setting(False)
    virtual_probes_enabled: bool = setting(False, env=_RUNTIME + "VIRTUAL_PROBES_ENABLED", deprecated=_PROBE_PROXY)
    virtual_probes_port: Port = setting(9000, env=_RUNTIME + "VIRTUAL_PROBES_PORT", deprecated=_PROBE_PROXY)
    application_probe_proxy_port: Port = setting(9001, env=_RUNTIME + "APPLICATION_PROBE_PROXY_PORT")
    sidecar_traffic: SidecarTraffic = section(SidecarTraffic, env=_RUNTIME + "SIDECAR_TRAFFIC_")
    exceptions: Exceptions = section(Exceptions, env=_RUNTIME + "EXCEPTIONS_")
    ca_cert_file: str = setting("")
    builtin_dns: BuiltinDns = section(BuiltinDns, wire="builtinDNS")
    ebpf: Ebpf = section(Ebpf)
    ignored_service_selector_labels: tuple[str, ...] = setting(())
    node_labels_to_copy: tuple[str, ...] = setting(
        ("topology.kubernetes.io/zone", "topology.kubernetes.io/region", "kubernetes.io/hostname")
    )
    transparent_proxy_config_map: str = setting("", env="TRANSPARENT_PROXY_CONFIGMAP_NAME")
    unified_resource_naming_enabled: bool = setting(False)
    otel_pipe_enabled: bool = setting(True)
    spire: InjectorSpire = section(InjectorSpire)


class ControllersConcurrency(Section):
    """``controllersConcurrency``."""

    pod_controller: Count = setting(10)


class ClientConfig(Section):
    """``clientConfig``."""

    qps: Count = setting(100)
    burst_qps: Count = setting(100)


class LeaderElection(Section):
    """``leaderElection``."""

    lease_duration: timedelta = setting(timedelta(seconds=15))
    renew_deadline: timedelta = setting(timedelta(seconds=10))


class KubernetesRuntime(Section):
    """``runtime.kubernetes``."""

    admission_server: AdmissionServer = section(AdmissionServer)
    injector: Injector = section(Injector)
    marshaling_cache_expiration_time: timedelta = setting(timedelta(minutes=5))
    allowed_users: tuple[str, ...] = setting(())
    control_plane_service_name: str = setting("kuma-control-plane")
    node_taint_controller: NodeTaintController = section(NodeTaintController)
    controllers_concurrency: ControllersConcurrency = section(ControllersConcurrency)
    client_config: ClientConfig = section(ClientConfig)
    leader_election: LeaderElection = section(LeaderElection)
    skip_mesh_owner_reference: bool = setting(False)
    support_gateway_secrets_in_all_namespaces: bool = setting(False)
    workload_labels: tuple[str, ...] = setting(())
    disallow_multiple_meshes_per_namespace: bool = setting(False)
