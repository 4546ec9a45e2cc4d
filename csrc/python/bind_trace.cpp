// Traces: parsers, compactor, page set, codec, recorder stream. python/vmem/traces/ wraps them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "python/arrays.hpp"
#include "python/bindings.hpp"
#include "sim/trace_codec.hpp"
#include "sim/trace_compactor.hpp"
#include "sim/trace_pages.hpp"
#include "sim/trace_parser.hpp"
#include "sim/trace_recording.hpp"

namespace py = pybind11;

namespace vmem::python {
namespace {

using namespace vmem::sim;

/// The same as vmem.traces.RUN_DTYPE.
py::dtype run_dtype() {
  const auto list = [](auto... items) {
    py::list result;
    (result.append(items), ...);
    return result;
  };
  return {list("page", "loads", "stores"), list("<u8", "<u4", "<u4"), list(0, 8, 12), sizeof(Run)};
}

/// Hands the vector's memory to numpy.
template <class T>
py::array to_array(std::vector<T> values, const py::dtype& dtype) {
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  const T* data = owner->data();
  const std::size_t size = owner->size();
  const py::capsule base(owner.release(), [](void* vector) { delete static_cast<std::vector<T>*>(vector); });
  return py::array(dtype, {size}, {sizeof(T)}, data, base);
}

py::array to_runs(std::vector<Run> runs) { return to_array(std::move(runs), run_dtype()); }

std::span<const Run> as_runs(const py::array& runs) {
  if (runs.ndim() != 1 || !runs.dtype().equal(run_dtype()) || !(runs.flags() & py::array::c_style))
    throw py::type_error("runs must be a contiguous one-dimensional array of vmem.traces.RUN_DTYPE");
  return {static_cast<const Run*>(runs.data()), static_cast<std::size_t>(runs.size())};
}

struct ReferenceSpans {
  std::span<const std::uint64_t> addresses;
  std::span<const std::uint8_t> kinds;
};

ReferenceSpans as_references(const AddressArray& addresses, const KindArray& kinds) {
  check_batch(addresses, kinds);
  const auto size = static_cast<std::size_t>(addresses.size());
  return {{addresses.data(), size}, {kinds.data(), size}};
}

std::span<const char> as_bytes(const py::buffer_info& info) {
  return {static_cast<const char*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize)};
}

TraceFormat format_of(const std::string& name) {
  static const std::pair<const char*, TraceFormat> kNames[] = {{"lackey", TraceFormat::lackey},
                                                               {"classic", TraceFormat::classic},
                                                               {"din", TraceFormat::din},
                                                               {"champsim", TraceFormat::champsim},
                                                               {"drmemtrace", TraceFormat::drmemtrace}};
  for (const auto& [known, format] : kNames)
    if (name == known) return format;
  throw py::value_error("unknown format '" + name + "'");
}

py::tuple parse(TraceParser& parser, const py::buffer& data, bool final) {
  const py::buffer_info info = data.request();
  References references;
  Parsed parsed;
  {
    const py::gil_scoped_release released;
    parsed = parser.feed(as_bytes(info), final, references);
  }
  return py::make_tuple(to_array(std::move(references.addresses), py::dtype::of<std::uint64_t>()),
                        to_array(std::move(references.kinds), py::dtype::of<std::uint8_t>()), parsed.consumed,
                        parsed.error.empty() ? py::object(py::none()) : py::object(py::str(parsed.error)));
}

py::object to_item(RecordedItem item) {
  if (auto* runs = std::get_if<std::vector<Run>>(&item)) return to_runs(std::move(*runs));
  static constexpr const char* kKinds[] = {"mmap", "munmap", "mprotect", "brk"};
  const auto& call = std::get<MapCall>(item);
  return py::make_tuple(kKinds[static_cast<std::size_t>(call.kind)], call.start, call.length, call.prot,
                        py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
                            call.name.data(), static_cast<py::ssize_t>(call.name.size()), "replace")));
}

py::tuple feed_recording(Recording& recording, const py::buffer& data) {
  const py::buffer_info info = data.request();
  std::vector<RecordedItem> items;
  std::size_t consumed = 0;
  {
    const py::gil_scoped_release released;
    consumed = recording.feed(as_bytes(info), items);
  }
  py::list result;
  for (RecordedItem& item : items) result.append(to_item(std::move(item)));
  return py::make_tuple(result, consumed);
}

py::list to_regions(const std::vector<Region>& regions) {
  py::list result;
  for (const Region& region : regions)
    result.append(py::make_tuple(region.start, region.length,
                                 std::string("r") + (region.write ? "w" : "") + (region.execute ? "x" : "")));
  return result;
}

}  // namespace

void bind_trace(py::module_& m) {
  py::classh<TraceParser>(m, "TraceParser")
      .def(py::init([](const std::string& format) { return TraceParser(format_of(format)); }), py::arg("format"))
      .def("feed", &parse, py::arg("data"), py::arg("final"));

  py::classh<Compactor>(m, "TraceCompactor")
      .def(py::init<>())
      .def(
          "feed",
          [](Compactor& compactor, const AddressArray& addresses, const KindArray& kinds) {
            const ReferenceSpans references = as_references(addresses, kinds);
            std::vector<Run> runs;
            {
              const py::gil_scoped_release released;
              compactor.add(references.addresses, references.kinds);
              runs = compactor.take();
            }
            return to_runs(std::move(runs));
          },
          py::arg("addresses"), py::arg("kinds"))
      .def("finish", [](Compactor& compactor) {
        compactor.close();
        return to_runs(compactor.take());
      });

  py::classh<TouchedPages>(m, "TouchedPages")
      .def(py::init<>())
      .def(
          "add_references",
          [](TouchedPages& pages, const AddressArray& addresses, const KindArray& kinds) {
            const ReferenceSpans references = as_references(addresses, kinds);
            const py::gil_scoped_release released;
            pages.add(references.addresses, references.kinds);
          },
          py::arg("addresses"), py::arg("kinds"))
      .def(
          "add_runs",
          [](TouchedPages& pages, const py::array& runs) {
            const std::span<const Run> span = as_runs(runs);
            const py::gil_scoped_release released;
            pages.add(span);
          },
          py::arg("runs"))
      .def("take_new", [](TouchedPages& pages) { return to_array(pages.take_new(), py::dtype::of<std::uint64_t>()); })
      .def(
          "regions", [](const TouchedPages& pages, std::uint64_t bridge) { return to_regions(pages.regions(bridge)); },
          py::arg("bridge"))
      .def_property_readonly("count", &TouchedPages::count);

  py::classh<Recording>(m, "TraceRecording")
      .def(py::init<>())
      .def("feed", &feed_recording, py::arg("data"))
      .def("finish", [](Recording& recording) { return to_runs(recording.finish()); })
      .def_property_readonly("complete", &Recording::complete)
      .def_property_readonly("references", &Recording::references);

  m.def(
      "format_references",
      [](const std::string& format, const AddressArray& addresses, const KindArray& kinds) {
        const ReferenceSpans references = as_references(addresses, kinds);
        return py::bytes(format_references(format_of(format), references.addresses, references.kinds));
      },
      py::arg("format"), py::arg("addresses"), py::arg("kinds"));
  m.def("encode_runs", [](const py::array& runs) { return py::bytes(encode_runs(as_runs(runs))); }, py::arg("runs"));
  m.def(
      "decode_runs",
      [](const py::buffer& payload, std::size_t count) {
        const py::buffer_info info = payload.request();
        std::vector<Run> runs;
        {
          const py::gil_scoped_release released;
          runs = decode_runs(as_bytes(info), count);
        }
        return to_runs(std::move(runs));
      },
      py::arg("payload"), py::arg("count"));
}

}  // namespace vmem::python
