// Processes of a vmem_host's guests: what they do to their memory.
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "capi/result.hpp"
#include "capi/structure.hpp"
#include "core/run.hpp"
#include "vmem/host.h"

namespace vmem::capi {
namespace {

constexpr std::uint64_t kBlock = 1 << 16;

bool is_over(const Where& where) { return where.process.killed || where.guest.vm->is_killed(); }

/// `move(at)` moves bytes until the access at `at` fails, if one does.
template <class Move>
vmem_status transfer(sim::Machine& machine, const Where& where, std::uint64_t* at, Move&& move) {
  Gva failed;
  bool done = false;
  try {
    done = move(failed);
  } catch (const OutOfMemory&) {
    if (!is_over(where)) throw;
  }
  machine.time().charge(*where.guest.vm, where.vcpu);
  if (done) return VMEM_OK;
  if (at != nullptr) *at = failed.value;
  return is_over(where) ? VMEM_STOPPED : VMEM_SEGFAULT;
}

void add(vmem_summary& sum, const sim::ReplayResult& part) {
  if (sum.segfaults == 0) sum.first_segfault = part.first_segfault.value;
  sum.done += part.done;
  sum.segfaults += part.segfaults;
  sum.stopped = part.stopped ? 1 : 0;
}

/// Block by block. A policy runs whenever its time comes: kinds are copied for it, or it could change what has been
/// checked. Events are told between blocks.
vmem_status access_all(sim::Machine& machine, HostObject& host, const Where& where,
                       std::span<const std::uint64_t> addresses, const std::uint8_t* kinds, vmem_summary& sum) {
  std::vector<std::uint8_t> copy;
  for (std::size_t from = 0; from < addresses.size() && sum.stopped == 0; from += kBlock) {
    const std::size_t count = std::min<std::size_t>(kBlock, addresses.size() - from);
    const std::uint8_t* block = kinds + from;
    if (host.policy().is_set()) {
      copy.assign(block, block + count);
      block = copy.data();
    }
    const sim::ReplayResult part =
        machine.access(where.guest, where.vcpu, where.process, addresses.subspan(from, count), std::span(block, count),
                       [](std::uint64_t) { return true; });
    const bool is_cut = part.done < count && !part.stopped;
    const std::uint8_t next = is_cut ? block[part.done] : 0;  // before a callback can change it
    add(sum, part);
    if (!host.tell_events()) return VMEM_OK;  // HostObject::end makes a failure of it
    if (is_cut) access_kind(next);            // refuses
  }
  return sum.stopped != 0 ? VMEM_STOPPED : VMEM_OK;
}

static_assert(sizeof(vmem_run) == sizeof(Run) && offsetof(vmem_run, loads) == offsetof(Run, loads) &&
              offsetof(vmem_run, stores) == offsetof(Run, stores));

/// The same of runs; one that is malformed ends it.
vmem_status replay_all(sim::Machine& machine, HostObject& host, const Where& where, const vmem_run* given,
                       std::uint64_t count, vmem_summary& sum) {
  const std::span<const Run> runs(reinterpret_cast<const Run*>(given), count);
  for (std::size_t from = 0; from < runs.size() && sum.stopped == 0; from += kBlock) {
    const auto block = runs.subspan(from, std::min<std::size_t>(kBlock, runs.size() - from));
    const sim::ReplayResult part =
        machine.replay(where.guest, where.vcpu, where.process, block, [](std::uint64_t) { return true; });
    add(sum, part);
    if (!host.tell_events()) return VMEM_OK;  // HostObject::end makes a failure of it
    if (part.runs < block.size() && !part.stopped) refuse_run(from + part.runs);
  }
  return sum.stopped != 0 ? VMEM_STOPPED : VMEM_OK;
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::Gva;
using vmem::sim::Machine;

vmem_status vmem_process_read(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t address,
                              void* bytes, uint64_t length, uint64_t* at) {
  return change(host, [&](Machine& machine, HostObject&) {
    require_array(bytes, length, "bytes");
    const Where where = locate(machine, vm, vcpu, process);
    return transfer(machine, where, at, [&](Gva& failed) {
      return machine.read(where.guest, where.vcpu, where.process, Gva{address},
                          std::span(static_cast<std::byte*>(bytes), length), failed);
    });
  });
}

vmem_status vmem_process_write(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t address,
                               const void* bytes, uint64_t length, uint64_t* at) {
  return change(host, [&](Machine& machine, HostObject&) {
    require_array(bytes, length, "bytes");
    const Where where = locate(machine, vm, vcpu, process);
    return transfer(machine, where, at, [&](Gva& failed) {
      return machine.write(where.guest, where.vcpu, where.process, Gva{address},
                           std::span(static_cast<const std::byte*>(bytes), length), failed);
    });
  });
}

vmem_status vmem_process_access(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t address,
                                uint32_t kind, uint64_t* hpa) {
  return change(host, [&](Machine& machine, HostObject&) {
    const vmem::AccessKind what = access_kind(kind);
    const Where where = locate(machine, vm, vcpu, process);
    where.guest.kernel->switch_to(where.vcpu, where.process);
    vmem::Hpa went;
    const bool done = where.vcpu.access({address}, what, went);
    machine.time().charge(*where.guest.vm, where.vcpu);
    if (!done) return is_over(where) ? VMEM_STOPPED : VMEM_SEGFAULT;
    if (hpa != nullptr) *hpa = went.value;
    return VMEM_OK;
  });
}

vmem_status vmem_process_access_batch(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                      const uint64_t* addresses, const uint8_t* kinds, uint64_t count,
                                      vmem_summary* summary) {
  return change(host, [&](Machine& machine, HostObject& object) {
    vmem_summary unseen{};
    unseen.size = sizeof unseen;
    vmem_summary& sum = summary != nullptr ? filled(summary, "summary") : unseen;
    sum = {sum.size, 0, 0, 0, 0};
    require_array(addresses, count, "addresses");
    require_array(kinds, count, "kinds");
    const Where where = locate(machine, vm, vcpu, process);
    return access_all(machine, object, where, {addresses, count}, kinds, sum);
  });
}

vmem_status vmem_process_replay(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, const vmem_run* runs,
                                uint64_t count, vmem_summary* summary) {
  return change(host, [&](Machine& machine, HostObject& object) {
    vmem_summary unseen{};
    unseen.size = sizeof unseen;
    vmem_summary& sum = summary != nullptr ? filled(summary, "summary") : unseen;
    sum = {sum.size, 0, 0, 0, 0};
    require_array(runs, count, "runs");
    return replay_all(machine, object, locate(machine, vm, vcpu, process), runs, count, sum);
  });
}

vmem_status vmem_process_translate(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                   const uint64_t* addresses, uint64_t count, uint64_t* hpas) {
  return change(host, [&](Machine& machine, HostObject&) {
    require_array(addresses, count, "addresses");
    require_array(hpas, count, "hpas");
    const Where where = locate(machine, vm, vcpu, process);
    where.guest.kernel->switch_to(where.vcpu, where.process);
    for (std::uint64_t i = 0; i < count; ++i)
      hpas[i] = where.guest.vm->probe(where.vcpu, {addresses[i]}, vmem::AccessKind::load).value;
    machine.time().charge(*where.guest.vm, where.vcpu);
    return VMEM_OK;
  });
}
