#include "capi/event_teller.hpp"

#include <algorithm>
#include <vector>

#include "capi/refusal.hpp"

namespace vmem::capi {
namespace {

struct News {
  const Event* event;
  std::uint64_t* told;
};

/// What a log that has dropped its oldest events holds beyond the first `told` of all it ever held.
void collect(const std::vector<Event>& kept, std::uint64_t dropped, std::uint64_t& told, std::vector<News>& news) {
  told = std::max(told, dropped);
  for (std::uint64_t i = told - dropped; i < kept.size(); ++i) news.push_back({&kept[i], &told});
}

}  // namespace

void EventTeller::set(sim::Machine& machine, vmem_host* host, vmem_event_fn on_event, void* user) {
  host_ = host;
  on_event_ = on_event;
  user_ = user;
  const EventLog& log = machine.hypervisor().host().events;
  hosts_ = log.dropped() + log.events().size();
  guests_.clear();
  for (const auto& [id, guest] : machine.guests())
    guests_[id] = guest.kernel->events().dropped() + guest.kernel->events().kept().size();
}

bool EventTeller::tell(sim::Machine& machine) {
  if (on_event_ == nullptr) return true;
  std::vector<News> news;
  const EventLog& log = machine.hypervisor().host().events;
  collect(log.events(), log.dropped(), hosts_, news);
  for (const auto& [id, guest] : machine.guests())
    collect(guest.kernel->events().kept(), guest.kernel->events().dropped(), guests_[id], news);
  std::stable_sort(news.begin(), news.end(), [](const News& a, const News& b) { return a.event->at < b.event->at; });
  // Each log's news are told in its own order, so that `told` counts them.
  for (const News& item : news) {
    ++*item.told;
    if (!tell(*item.event)) return false;
  }
  return true;
}

bool EventTeller::tell(const Event& event) {
  std::vector<const char*> names;
  std::vector<std::uint64_t> values;
  for (const auto& [name, value] : event.numbers) {
    names.push_back(name.c_str());
    values.push_back(value);
  }
  const vmem_event told{sizeof told,
                        static_cast<std::uint32_t>(names.size()),
                        event.at,
                        event.kind.c_str(),
                        event.subject.c_str(),
                        names.data(),
                        values.data()};
  return succeeds([&] { return on_event_(user_, host_, &told); });
}

}  // namespace vmem::capi
