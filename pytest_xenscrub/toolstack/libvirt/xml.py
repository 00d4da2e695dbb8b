# SPDX-License-Identifier: MIT
"""Makes libvirt's XML for a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pytest_xenscrub.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_xenscrub.toolstack.protocol import DomainConfig

_OS_TYPES = {"pv": "linux", "pvh": "xenpvh"}


def domain_xml(config: DomainConfig, kernel: str) -> str:
    """The XML of a domain with a kernel, a console, and nothing else.

    Args:
        config: the domain's configuration.
        kernel: path of the kernel in dom0.

    Raises:
        ConfigurationError: the configuration has a NUMA node, a claim, or the size of a paging
            pool, which libvirt does not support.
    """
    if config.node is not None:
        raise ConfigurationError(
            f"{config.name}: libvirt cannot place a PV guest's memory on a chosen NUMA node",
            todo="use --xen-toolstack=xl",
        )
    if config.claim:
        raise ConfigurationError(
            f"{config.name}: libvirt cannot claim a guest's memory before it builds the guest",
            todo="use --xen-toolstack=xl",
        )
    if config.pool_bytes is not None:
        raise ConfigurationError(
            f"{config.name}: libvirt chooses the size of a guest's paging pool itself",
            todo="use --xen-toolstack=xl",
        )
    domain = ElementTree.Element("domain", type="xen")

    def add(parent: ElementTree.Element, tag: str, text: str = "", **attributes: str) -> None:
        element = ElementTree.SubElement(parent, tag, attributes)
        element.text = text or None

    add(domain, "name", config.name)
    add(domain, "uuid", str(config.uuid))
    add(domain, "memory", str(config.maximum_bytes or config.memory_bytes), unit="bytes")
    if config.promised_bytes:
        add(domain, "currentMemory", str(config.memory_bytes), unit="bytes")
    add(domain, "vcpu", str(config.vcpus))
    boot = ElementTree.SubElement(domain, "os")
    add(boot, "type", _OS_TYPES[config.type], arch="x86_64", machine=f"xen{config.type}")
    add(boot, "kernel", kernel)
    add(boot, "cmdline", config.command_line)
    add(domain, "on_poweroff", "destroy")
    add(domain, "on_reboot", "restart")
    add(domain, "on_crash", config.on_crash)
    devices = ElementTree.SubElement(domain, "devices")
    console = ElementTree.SubElement(devices, "console", type="pty")
    add(console, "target", type="xen")
    return ElementTree.tostring(domain, encoding="unicode")
