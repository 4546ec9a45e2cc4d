// Balloon drivers whose decisions are made in Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "guest/balloon_driver.hpp"
#include "python/bindings.hpp"
#include "python/machine_entry.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

/// A hand that Python may keep longer than it is one.
class PyHand {
 public:
  explicit PyHand(guest::BalloonHand& hand) : hand_(&hand) {}
  void let_go() { hand_ = nullptr; }
  std::optional<std::uint64_t> allocate(int order) const {
    if (order < 0 || order > guest::kMaxOrder)
      throw ConfigError("order " + std::to_string(order) + "; accepted are 0 to " + std::to_string(guest::kMaxOrder));
    const auto block = hand().allocate(order);
    return block ? std::optional(block->value) : std::nullopt;
  }
  bool has(std::uint64_t page) const { return hand().has(Gfn{page}); }
  void free(std::uint64_t page) const {
    if (!has(page)) throw ConfigError("page " + hex(page) + " is not in the driver's hand");
    hand().free(Gfn{page});
  }

 private:
  guest::BalloonHand& hand() const {
    if (hand_ == nullptr) throw ConfigError("a balloon driver has a hand only while it chooses");
    return *hand_;
  }
  guest::BalloonHand* hand_;
};

std::vector<Gfn> frames(const std::vector<std::uint64_t>& numbers) {
  std::vector<Gfn> found;
  found.reserve(numbers.size());
  for (const std::uint64_t number : numbers) found.push_back(Gfn{number});
  return found;
}

/// Asks vmem.BalloonDriver, which answers None where Linux's way will do, and never raises. The guest's owner in Python
/// keeps it, not this: it knows the machine itself.
class PyBalloonPolicy final : public guest::BalloonPolicy {
 public:
  explicit PyBalloonPolicy(const py::object& driver)
      : driver_(new py::weakref(driver), [](py::weakref* held) {
          const py::gil_scoped_acquire locked;
          delete held;
        }) {}

  Choice choose(guest::BalloonHand& hand, std::uint64_t wanted) override {
    std::optional<std::vector<std::uint64_t>> chosen;
    {
      const py::gil_scoped_acquire locked;
      const auto lent = std::make_shared<PyHand>(hand);
      if (const py::object driver = (*driver_)(); !driver.is_none())
        chosen = driver.attr("_choose")(lent, wanted).cast<std::optional<std::vector<std::uint64_t>>>();
      lent->let_go();
    }
    if (!chosen) return linux_.choose(hand, wanted);
    return {frames(*chosen), chosen->empty()};
  }
  std::vector<Gfn> release(std::span<const Gfn> balloon, std::uint64_t count) override {
    const py::gil_scoped_acquire locked;
    std::optional<std::vector<std::uint64_t>> chosen;
    if (const py::object driver = (*driver_)(); !driver.is_none())
      chosen = driver.attr("_release")(count).cast<std::optional<std::vector<std::uint64_t>>>();
    return chosen ? frames(*chosen) : linux_.release(balloon, count);
  }
  Nanoseconds delay() const override {
    const py::gil_scoped_acquire locked;
    const py::object driver = (*driver_)();
    return driver.is_none() ? 0 : driver.attr("_delay")().cast<Nanoseconds>();
  }

 private:
  std::shared_ptr<py::weakref> driver_;
  guest::LinuxBalloonPolicy linux_;
};

}  // namespace

void bind_balloon_policy(py::module_& m, py::classh<PyMachine>& machine) {
  py::classh<PyHand>(m, "BalloonHand")
      .def("allocate", &PyHand::allocate)
      .def("has", &PyHand::has)
      .def("free", &PyHand::free);
  machine.def("set_balloon_driver", [](PyMachine& self, std::uint16_t vm, const py::object& driver) {
    guest::BalloonDriver* const target = self.enter()->guest(vm).kernel->devices().balloon();
    if (target == nullptr) throw ConfigError("this VM's guest has no balloon driver");
    target->follow(std::make_unique<PyBalloonPolicy>(driver));
  });
}

}  // namespace vmem::python
