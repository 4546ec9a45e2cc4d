"""Machines for the tests of the Python API."""

from __future__ import annotations

import pytest

import vmem


@pytest.fixture
def host() -> vmem.Hypervisor:
    """A host of 1 GiB."""
    return vmem.Hypervisor("1GiB")


@pytest.fixture(params=["native", "nested", "shadow", "software-tlb"])
def vm(host: vmem.Hypervisor, request: pytest.FixtureRequest) -> vmem.Vm:
    """A VM of 64 MiB and two vCPUs, in every mode; the host is checked after the test."""
    yield host.create_vm("vm", memory="64MiB", vcpus=2, mmu=request.param)
    host.check()


@pytest.fixture
def process(vm: vmem.Vm) -> vmem.Process:
    """A process without any mapping."""
    return vm.guest.spawn("app")
